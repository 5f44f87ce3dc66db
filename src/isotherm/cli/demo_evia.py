"""`isotherm demo evia`: digits of which half the frequencies were measured, and what they may have been."""

from __future__ import annotations

import math
import time
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from isotherm.applications.inverse import Families, Judgement, MaskedImages, families_of, judge, masked_digits
from isotherm.applications.inverse.masked_digits import TRAINED_ON
from isotherm.cli.main import OK
from isotherm.cli.outputs import staged
from isotherm.cli.progress import Task, progress_bars
from isotherm.cli.show import show_files
from isotherm.cli.threads import cpu_threads
from isotherm.models import EVIA, Training
from isotherm.posterior import EffectiveSizeWarning, Posterior, Reweighted
from isotherm.report.figures import coverage_figure, curves_figure, family_figure, heat_figure
from isotherm.report.files import check_outputs, save_figure, write_json
from isotherm.report.page import write_story

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SETTINGS = {"latent": 6, "widths": (128, 128), "gamma": 0.04, "gamma_start": 0.5, "critic": "dual", "candidates": 1024}
STEPS = 1000
CANDIDATES = 8192  # outside training
DRAWS = 200  # for each digit that is judged
SHOWN = 7  # digits
TEMPERATURES = (0.0025, 0.01, 0.04, 0.16, 0.64, 2.56)
FILES = {
    "families.png": "what was seen, samples of what it may have been, their mean and spread, the truth",
    "dial.png": "one digit from cold to hot, and how far its family spreads",
    "coverage.png": "how often the truth lies within intervals",
    "training.png": "what the training watched",
    "summary.json": "every number",
    "report.html": "all of it for a person to read: open this one",
}
TITLE = "Half of each picture was never measured: what may it have been?"
INTRODUCTION = """Of each digit, 8 x 8 pixels, {measured:.0f} % of the Fourier plane were measured, with a little noise: all directions but a \
double wedge, and each digit's wedge points elsewhere, as in tomography, where a sample can only be tilted so far. The model \
has seen {trained:,} such observations, and not one whole digit.

EVIA learns a decoder from {latent} numbers to a picture, so that the causes of all observations together are normal noise: \
transport of the data to noise, at a temperature. What comes with it is a posterior for each observation, a family of \
causes weighted by how well they explain what was measured. Where the data say nothing, its members differ.

What follows was judged on {held} digits that were not trained on; only here their whole pictures are used."""
WORDS = {
    "Temperature, γ": "How much misfit is put up with. Over the price of misfit, lam, it is the variance of what the decoder "  # noqa: RUF001
    "cannot explain. Cold, one answer; hot, any digit, whatever was observed.",
    "Coefficient": "Of the orthonormal Fourier transform. The mean square of a picture's coefficients is that of its pixels.",
    "Spread": "Standard deviation within a family, root of the mean square over coefficients.",
    "Effective candidates": f"Posteriors are weights on {CANDIDATES} draws of causes; the inverse sum of squared weights says how "
    "many count.",
    "Interval, coverage": "Between the 5 % and the 95 % quantile of a family lies the truth in 90 % of all cases, if the family is "
    "calibrated. Members carry the noise that the model says pictures have around the decoder's.",
}


FAMILIES = """Left to right: the frequencies that were measured (white; the mean is in the middle), the picture that they alone \
make, five members of the family, their mean, their standard deviation (darker is less sure), and the truth, which the model \
has not seen. Members are the decoder's pictures with the measured frequencies put in: what was measured, all have in common."""
DIAL = """One digit at temperatures from cold to hot, with the same decoder: the family's mean, and two of its members. Cold, all \
members are one; hot, they are whatever the prior holds. The decoder's pictures alone, without what was measured. Below, how far \
families spread, over {judged} digits: further where nothing was measured, until the prior alone speaks."""
COVERAGE = """How often the truth lies in intervals of the family, over all coefficients that were not measured. Pictures predicted \
carry the noise that the model says pictures have around the decoder's. The decoder's alone leave it out: they are far too sure, \
for most of what is not known is not in {latent} numbers."""
TRAINING = """The dual value falls with the temperature and with learning; effective candidates say how many of a thousand draws explain \
an observation; information is what a cause says of its observation."""
JUDGED_BY_HEAT = 100  # digits
NORMAL_95 = 1.645  # the 95 % quantile of N(0, 1)


@dataclass(frozen=True, kw_only=True)
class Answers:
    """What the demo found.

    Attributes:
        data: Observations that were held out.
        families: Of each.
        judgement: Of all.
        effective_size: Candidates that a family rests on, the median.
        history: Numbers of the training, by name.
        seconds: Of training and answering.
    """

    data: MaskedImages
    families: Families
    judgement: Judgement
    effective_size: float
    history: dict[str, list[float]]
    seconds: float


def demo_evia(output: Path, *, is_overwriting: bool, seed: int, threads: int) -> int:
    """Train, answer, judge and draw.

    Args:
        output: Folder for the files.
        is_overwriting: Whether existing files may be replaced.
        seed: Of data and model.
        threads: Of the CPU.

    Returns:
        Exit code.
    """
    check_outputs([output / name for name in FILES], overwrite=is_overwriting)
    train, held = masked_digits(seed=seed)
    model = EVIA(tuple(train.truth.shape[1:]), observe="fourier_mask", seed=seed, **SETTINGS)
    with cpu_threads(threads), progress_bars() as bars, warnings.catch_warnings():
        warnings.simplefilter("ignore", EffectiveSizeWarning)  # the page says how many there are
        began = time.perf_counter()
        history = fit(model, train, seed, Task(bars, "train"))
        task = Task(bars, "draw families")
        families = answer(model, model.posterior(), held, seed)
        found = Answers(
            data=held,
            families=families,
            judgement=judge(families, held),
            effective_size=float(weighed(model.posterior(), model, held, seed).effective_size.median()),
            history=history,
            seconds=time.perf_counter() - began,
        )
        task.done()
        with staged(output) as folder:
            write_files(folder, model, found, seed=seed, task=Task(bars, "draw and write"))
    show_files({output / name: text for name, text in FILES.items()})
    return OK


def fit(model: EVIA, data: MaskedImages, seed: int, task: Task) -> dict[str, list[float]]:
    """Train, and keep some numbers on the way; "step" says when.

    Args:
        model: Trained in place.
        data: Observations; the truth behind them is not used.
        seed: Of their order.
        task: Bar to move.

    Returns:
        Name to values.
    """
    history: dict[str, list[float]] = {name: [] for name in ("step", "dual", "effective_size", "information")}

    def watch(step: int, numbers: dict[str, Tensor]) -> None:
        if step % 10 == 0 or step == STEPS:
            task.show(step / STEPS)
            for name, values in history.items():
                values.append(float(step if name == "step" else numbers[name]))

    batch = model.check_batch(data.batch)
    Training(steps=STEPS, batch_size=200, learning_rate=2e-3, seed=seed).run(model, batch, callbacks=[watch])
    task.done()
    return history


def weighed(posterior: Posterior, model: EVIA, data: MaskedImages, seed: int) -> Reweighted:
    """Candidates and their weights.

    Args:
        posterior: At any temperature.
        model: Whose posterior it is.
        data: Observations.
        seed: Of the candidates.

    Returns:
        For all observations.
    """
    generator = torch.Generator().manual_seed(seed)
    return posterior.reweight(model.check_batch(data.batch), CANDIDATES, generator=generator)


@torch.no_grad()
def answer(model: EVIA, posterior: Posterior, data: MaskedImages, seed: int) -> Families:
    """Families of images for all observations, from a posterior at any temperature.

    Args:
        model: For its decoder.
        posterior: Of that model.
        data: Observations.
        seed: Of the draws.

    Returns:
        The families.
    """
    generator = torch.Generator().manual_seed(seed)
    z = weighed(posterior, model, data, seed).sample(DRAWS, generator=generator)
    decoded = model.decode(z.flatten(0, 1)).unflatten(0, z.shape[:2])
    return families_of(decoded, data, model_noise=math.sqrt(posterior.gamma / posterior.lam), generator=generator)


def dial(model: EVIA, data: MaskedImages, seed: int) -> Figure:
    """The digit that is least sure, among those shown, and the spread of many, at all temperatures.

    Args:
        model: Trained.
        data: Observations.
        seed: Of the draws.

    Returns:
        A matplotlib figure.
    """
    pictures: dict[str, list[Tensor]] = {"mean": [], "member": [], "another": []}
    spreads: dict[str, list[float]] = {"where nothing was measured": [], "where it was measured": []}
    data = data.first(JUDGED_BY_HEAT)
    shown = int(answer(model, model.posterior(), data.first(SHOWN), seed).decoded.var(1).sum((1, 2)).argmax())
    for gamma in TEMPERATURES:
        families = answer(model, model.posterior().at(gamma), data, seed)
        members = families.decoded[shown]
        for rows, picture in zip(pictures.values(), (members.mean(0), members[0], members[1]), strict=True):
            rows.append(picture)
        judged = judge(families, data)
        for values, spread in zip(spreads.values(), (judged.spread_missing, judged.spread_measured), strict=True):
            values.append(spread)
    return heat_figure(
        TEMPERATURES, {name: torch.stack(rows).numpy() for name, rows in pictures.items()}, spreads, used=model.gamma
    )


def table_of_families(found: Answers) -> Figure:
    """A row for each of the first digits.

    Args:
        found: What the demo found.

    Returns:
        A matplotlib figure.
    """
    data, completed = found.data.first(SHOWN), found.families.completed[:SHOWN]
    columns = {"measured": data.mask, "seen": data.y}
    columns |= {"members" if k == 0 else " " * k: completed[:, k] for k in range(5)}
    columns |= {"mean": completed.mean(1), "spread": completed.std(1), "truth": data.truth}
    return family_figure(columns, spreads=["spread"], masks=["measured"])


def write_files(folder: Path, model: EVIA, found: Answers, *, seed: int, task: Task) -> None:
    """Write every file of `FILES`.

    Args:
        folder: Where, an existing folder.
        model: Trained.
        found: Its answers.
        seed: In use.
        task: Bar to move.
    """
    judged, history = found.judgement, found.history
    coverages = {"pictures predicted": judged.coverage, "decoder's pictures alone": judged.decoded_coverage}
    curves = {
        "step": history["step"],
        "dual value": history["dual"],
        "effective candidates": history["effective_size"],
        "information (nats)": history["information"],
    }
    lines = [dict(zip(curves, values, strict=True)) for values in zip(*curves.values(), strict=True)]
    figures = {
        "families.png": ("Families", FAMILIES, table_of_families(found)),
        "dial.png": ("The dial", DIAL.format(judged=JUDGED_BY_HEAT), dial(model, found.data, seed)),
        "coverage.png": (
            "Can the families be believed?",
            COVERAGE.format(latent=model.latent),
            coverage_figure(coverages),
        ),
        "training.png": ("Training", TRAINING, curves_figure({"EVIA": lines})),
    }
    for name, (_, _, figure) in figures.items():
        save_figure(folder / name, figure)
    task.show(0.6, "report")
    settings = {name: model.settings()[name] for name in (*SETTINGS, "lam", "penalty")}
    inputs = {"data": "scikit-learn digits", "noise of a measured coefficient": judged.noise, "seed": seed, **settings}
    inputs |= {"steps": STEPS, "seconds of training and answering": round(found.seconds, 1)}
    numbers = {"effective_size": found.effective_size, **asdict(judged)}
    write_json(folder / "summary.json", {"command": "demo evia", "inputs": inputs, "judgement": numbers})
    write_story(
        folder / "report.html",
        title=TITLE,
        introduction=INTRODUCTION.format(
            measured=100.0 * float(found.data.mask.mean()),
            trained=TRAINED_ON,
            latent=model.latent,
            held=len(found.data.y),
        ),
        answer=answer_in_words(found),
        table=rows_of(judged),
        explained="Roots of mean squares over Fourier coefficients; the brightest pixel is 1.",
        figures=list(figures.values()),
        words=WORDS,
        inputs=inputs,
        outputs=[folder / name for name in FILES if name != "report.html"],
    )
    task.done()


def answer_in_words(found: Answers) -> list[str]:
    """The finding in sentences.

    Args:
        found: What the demo found.

    Returns:
        A line, and what there is to say about it.
    """
    judged = found.judgement
    return [
        f"Intervals of 90 % hold the truth in {100 * judged.coverage[0.9]:.0f} % of all coefficients that were not measured.",
        f"Where nothing was measured, the family's mean is wrong by {judged.error_missing:.2f}, and zero, which the observation "
        f"shows, by {judged.error_zero:.2f}. Intervals of 90 % are {judged.width:.2f} wide there, and "
        f"{2.0 * NORMAL_95 * judged.noise:.2f} where the coefficient was measured.",
        f"Pixels of the truth lie in intervals of 90 % in {100 * judged.pixel_coverage[0.9]:.0f} % of all cases. Half of the "
        f"families rest on at least {found.effective_size:.0f} effective candidates.",
    ]


def rows_of(judged: Judgement) -> list[dict[str, str]]:
    """The table of the page.

    Args:
        judged: Of the families.

    Returns:
        Rows of cells.
    """
    return [
        {
            "frequencies": "measured",
            "spread of the family": f"{judged.spread_measured:.3f}",
            "decoder's picture, away from the data": f"{judged.residual:.3f}",
            "noise": f"{judged.noise:.3f}",
            "mean, away from the truth": "",
            "truth in 90 % intervals": "",
        },
        {
            "frequencies": "not measured",
            "spread of the family": f"{judged.spread_missing:.3f}",
            "decoder's picture, away from the data": "",
            "noise": "",
            "mean, away from the truth": f"{judged.error_missing:.3f}",
            "truth in 90 % intervals": f"{100 * judged.coverage[0.9]:.1f} %",
        },
    ]
