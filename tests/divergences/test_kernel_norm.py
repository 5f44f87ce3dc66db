"""Half the squared norm of a difference of measures, for kernels."""

import torch
from torch.autograd import gradcheck, gradgradcheck

import isotherm
from isotherm.divergences import kernel_norm

from .clouds import given


def test_kernel_norm_is_a_quadratic_form_in_any_masses():
    x, y, u, v, *_ = given(needs_grad=False)
    a, b = u.exp(), v.exp()
    points, weights = torch.cat([x, y]), torch.cat([a, -b])
    wanted = 0.5 * weights @ torch.exp(-torch.cdist(points, points)) @ weights
    torch.testing.assert_close(kernel_norm(x, y, a, b, kernel=lambda x, y: torch.exp(-torch.cdist(x, y))), wanted)


def test_kernel_norm_of_minus_a_cost_is_the_mmd():
    x, y, u, v, *_ = given(needs_grad=False)
    a, b = u.softmax(0), v.softmax(0)
    found = kernel_norm(x, y, a, b, kernel=lambda x, y: -(x[:, None] - y).square().sum(-1))
    torch.testing.assert_close(found, isotherm.mmd(x, y, a, b))


def test_kernel_norm_derivatives():
    x, y, u, v, width, *_ = given()

    def value(x, y, u, v, width):
        return kernel_norm(
            x, y, u.exp(), v.exp(), kernel=lambda x, y: torch.exp(-(x[:, None] - y).square().sum(-1) / width)
        )

    assert gradcheck(value, (x, y, u, v, width))
    assert gradgradcheck(value, (x, y, u, v, width))
