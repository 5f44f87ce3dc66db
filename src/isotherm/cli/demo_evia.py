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

from isotherm.applications.inverse import (
    Families,
    Judgement,
    MaskedImages,
    families_of,
    judge,
    masked_digits,
    textured,
    unexplained,
)
from isotherm.applications.inverse.masked_digits import TRAINED_ON
from isotherm.applications.inverse.texture import reheated
from isotherm.cli.main import OK
from isotherm.cli.outputs import staged
from isotherm.cli.progress import Task, progress_bars
from isotherm.cli.show import show_files
from isotherm.cli.threads import cpu_threads
from isotherm.models import EVIA, Training
from isotherm.posterior import EffectiveSizeWarning, Posterior
from isotherm.report.figures import coverage_figure, curves_figure, family_figure, heat_figure
from isotherm.report.files import check_outputs, save_figure, write_json
from isotherm.report.page import write_story

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SETTINGS = {"latent": 6, "widths": (128, 128), "gamma": 0.04, "gamma_start": 0.5, "critic": "dual", "candidates": 1024}
STEPS = 1000
HELD_BACK = 6  # one in so many masked digits is not trained on: it tells what the decoder leaves unexplained
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
transport of the data to noise, at a temperature. So few numbers cannot say all of a digit. How much they leave out is found from \
{kept} more observations, by hiding measured frequencies: {deviation:.2f} for each. It becomes a texture, {pixels} numbers more, and \
the temperature becomes that of the measurement's noise. What comes with it is a posterior for each observation, a family of \
causes weighted by how well they explain what was measured. Where the data say nothing, its members differ.

What follows was judged on {held} digits that were not trained on; only here their whole pictures are used."""
WORDS = {
    "Temperature, γ": "How much misfit is put up with. Over the price of misfit, lam, it is the variance of what causes "  # noqa: RUF001
    "cannot explain. Cold, one answer; hot, any digit, whatever was observed.",
    "Texture": "What the decoder's few numbers leave out of a picture, taken to be white: a number for each pixel, of the same "
    "strength everywhere. Given the few, it is Gaussian and needs no search.",
    "Coefficient": "Of the orthonormal Fourier transform. The mean square of a picture's coefficients is that of its pixels.",
    "Spread": "Standard deviation within a family, root of the mean square over coefficients.",
    "Effective candidates": f"Posteriors are weights on {CANDIDATES} draws of causes; the inverse sum of squared weights says how "
    "many count.",
    "Interval, coverage": "Between the 5 % and the 95 % quantile of a family lies the truth in 90 % of all cases, if the family is "
    "calibrated.",
}


FAMILIES = """Left to right: the frequencies that were measured (white; the mean is in the middle), the picture that they alone \
make, five members of the family, their mean, their standard deviation (darker is less sure), and the truth, which the model \
has not seen. Members are the decoder's pictures as they are. Nothing is put into them: they agree with what was measured to \
within its noise, and are grainy where it says nothing, for there the texture is anything."""
DIAL = """One digit at temperatures from cold to hot, with the same decoder and without a texture: the family's mean, and two of its \
members. Cold, all members are one; hot, they are whatever the prior holds. Below, how far \
families spread, over {judged} digits: further where nothing was measured, until the prior alone speaks."""
COVERAGE = """How often the truth lies in intervals of the family, over all coefficients that were not measured. Members are the \
decoder's pictures with their texture. Without it the decoder's {latent} numbers are far too sure, for most of what is not known \
of a digit is not in them."""
TRAINING = """The dual value falls with the temperature and with learning; effective candidates say how many of a thousand draws explain \
an observation; information is what a cause says of its observation."""
JUDGED_BY_HEAT = 100  # digits


@dataclass(frozen=True, kw_only=True)
class Answers:
    """What the demo found.

    Attributes:
        data: Observations that were held out.
        families: Of each.
        judgement: Of all.
        smooth: The judgement of families without a texture, at the temperature of the training.
        deviation: Of pictures from those of the decoder, per coefficient.
        effective_size: Candidates that a family rests on, the median.
        history: Numbers of the training, by name.
        kept: Masked digits that were not trained on.
    """

    data: MaskedImages
    families: Families
    judgement: Judgement
    smooth: Judgement
    deviation: float
    effective_size: float
    history: dict[str, list[float]]
    kept: int


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
        kept = len(train.y) // HELD_BACK
        history = fit(model, train.first(len(train.y) - kept), seed, Task(bars, "train"))
        task = Task(bars, "draw families")
        found = answers(model, train.last(kept), held, history, seed)
        seconds = time.perf_counter() - began
        task.done()
        with staged(output) as folder:
            write_files(folder, model, found, seconds, seed=seed, task=Task(bars, "draw and write"))
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


def answers(model: EVIA, kept: MaskedImages, held: MaskedImages, history: dict[str, list[float]], seed: int) -> Answers:
    """What the decoder leaves out, and families with a texture for it.

    Args:
        model: Trained.
        kept: Observations that it was not trained on.
        held: Observations to answer.
        history: Of the training.
        seed: Of the draws.

    Returns:
        Everything.
    """
    deviation = unexplained(model, kept, seed=seed)
    families = answer(textured(model, deviation, held.noise), held, seed)
    coarse = reheated(model.posterior(), model.lam * deviation**2)  # the same law of the first numbers
    x, generator = model.check_batch(held.batch), torch.Generator().manual_seed(seed)
    return Answers(
        data=held,
        families=families,
        judgement=judge(families, held),
        smooth=judge(answer(model.posterior(), held, seed), held),
        deviation=deviation,
        effective_size=float(coarse.reweight(x, CANDIDATES, generator=generator).effective_size.median()),
        history=history,
        kept=len(kept.y),
    )


@torch.no_grad()
def answer(posterior: Posterior, data: MaskedImages, seed: int) -> Families:
    """Families of images for all observations, from a posterior at any temperature.

    Args:
        posterior: Of the model, with a texture or without.
        data: Observations.
        seed: Of the draws.

    Returns:
        The families.
    """
    generator = torch.Generator().manual_seed(seed)
    x = posterior.observation.pack(data.batch)
    z = posterior.sample(x, DRAWS, count=CANDIDATES, generator=generator)
    decoded = posterior.forward(z.flatten(0, 1)).unflatten(0, z.shape[:2])
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
    shown = int(answer(model.posterior(), data.first(SHOWN), seed).decoded.var(1).sum((1, 2)).argmax())
    for gamma in TEMPERATURES:
        families = answer(model.posterior().at(gamma), data, seed)
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
    data, members = found.data.first(SHOWN), found.families.decoded[:SHOWN]
    columns = {"measured": data.mask, "seen": data.y}
    columns |= {"members" if k == 0 else " " * k: members[:, k] for k in range(5)}
    columns |= {"mean": members.mean(1), "spread": members.std(1), "truth": data.truth}
    return family_figure(columns, spreads=["spread"], masks=["measured"])


def write_files(folder: Path, model: EVIA, found: Answers, seconds: float, *, seed: int, task: Task) -> None:
    """Write every file of `FILES`.

    Args:
        folder: Where, an existing folder.
        model: Trained.
        found: Its answers.
        seconds: Of training and answering.
        seed: In use.
        task: Bar to move.
    """
    judged, history = found.judgement, found.history
    coverages = {"members": judged.decoded_coverage, "without a texture": found.smooth.decoded_coverage}
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
    inputs |= {"steps": STEPS, "seconds of training and answering": round(seconds, 1)}
    numbers = {"effective_size": found.effective_size, "deviation": found.deviation, **asdict(judged)}
    numbers = {"judgement": numbers, "without_texture": asdict(found.smooth)}
    write_json(folder / "summary.json", {"command": "demo evia", "inputs": inputs, **numbers})
    write_story(
        folder / "report.html",
        title=TITLE,
        introduction=INTRODUCTION.format(
            measured=100.0 * float(found.data.mask.mean()),
            trained=TRAINED_ON - found.kept,
            kept=found.kept,
            deviation=found.deviation,
            pixels=math.prod(model.shape),
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
        f"Intervals of 90 % hold the truth in {100 * judged.decoded_coverage[0.9]:.0f} % of all coefficients that were not measured.",
        f"Members agree with what was measured to within {judged.residual:.3f}, its noise being {judged.noise:.3f}. They differ by "
        f"{judged.spread_measured:.2f} there, and by {judged.spread_missing:.2f} where nothing was measured.",
        f"Where nothing was measured, the family's mean is wrong by {judged.error_missing:.2f}, and zero, which the observation "
        f"shows, by {judged.error_zero:.2f}.",
        f"Half of the families rest on at least {found.effective_size:.0f} effective candidates of {CANDIDATES}.",
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
            "truth in 90 % intervals": f"{100 * judged.decoded_coverage[0.9]:.1f} %",
        },
    ]
