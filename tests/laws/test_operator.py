"""The operator ``L = (Id - alpha Laplacian)^s`` against its stencil, its inverse and
closed forms.
"""

import math

import pytest
import torch

from diffeode.flows.operator import BOUNDARIES, inverse_operator, operator, operator_norm

ALPHA = 0.0025
EVERY_BOUNDARY = pytest.mark.parametrize("boundary", BOUNDARIES)
SIZES = pytest.mark.parametrize("size", [(11, 8, 9), (7, 12), (1, 2, 5), (2, 1), (1, 1, 1)])


def noise(size, channels=3, seed=0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(2, channels, *size, dtype=torch.float64, generator=generator)


def by_stencil(field: torch.Tensor, boundary: str) -> torch.Tensor:
    """``f - alpha Laplacian f`` on the unit cube: neighbours beyond the border are 0, or those of
    the other side.
    """
    size = field.shape[2:]
    margin, cells = (1, [n + 1 for n in size]) if boundary == "dirichlet" else (0, size)
    padded = torch.nn.functional.pad(field, [margin] * (2 * len(size)))
    laplacian = sum(
        (padded.roll(1, axis) + padded.roll(-1, axis) - 2 * padded) * n**2
        for axis, n in enumerate(cells, start=2)
    )
    inside = (slice(None), slice(None), *[slice(margin, margin + n) for n in size])
    return (padded - ALPHA * laplacian)[inside]


@EVERY_BOUNDARY
@SIZES
def test_the_operator_is_its_stencil(size, boundary):
    field = noise(size)
    assert torch.allclose(
        operator(field, ALPHA, 1, boundary), by_stencil(field, boundary), atol=1e-10
    )
    twice = by_stencil(by_stencil(field, boundary), boundary)
    assert torch.allclose(operator(field, ALPHA, 2, boundary), twice, atol=1e-10)


@EVERY_BOUNDARY
@SIZES
def test_the_inverse_undoes_the_operator(size, boundary):
    field = noise(size)
    there = operator(field, ALPHA, 2, boundary)
    assert torch.allclose(inverse_operator(there, ALPHA, 2, boundary), field, atol=1e-10)
    assert torch.allclose(
        inverse_operator(by_stencil(field, boundary), ALPHA, 1, boundary), field, atol=1e-10
    )


@EVERY_BOUNDARY
def test_operator_and_inverse_are_self_adjoint(boundary):
    a, b = noise((7, 9, 6), seed=1), noise((7, 9, 6), seed=2)
    for apply in (operator, inverse_operator):
        left, right = (
            (apply(a, 0.01, 1.5, boundary) * b).sum(),
            (a * apply(b, 0.01, 1.5, boundary)).sum(),
        )
        assert torch.isclose(left, right, rtol=1e-12)


def test_the_periodic_operator_moves_with_the_field():
    field = noise((6, 5))
    moved = inverse_operator(field.roll((2, 1), (2, 3)), ALPHA, 2, "periodic")
    assert torch.allclose(
        moved, inverse_operator(field, ALPHA, 2, "periodic").roll((2, 1), (2, 3)), atol=1e-12
    )
    constant = torch.full((1, 2, 6, 5), 0.7, dtype=torch.float64)
    assert torch.allclose(inverse_operator(constant, ALPHA, 2, "periodic"), constant)


@pytest.mark.parametrize(("boundary", "cells"), [("dirichlet", 13), ("periodic", 12)])
def test_norm_of_a_wave(boundary, cells):
    """A mode of the Laplacian is multiplied by ``1 + alpha (2 - 2 cos w) cells^2``, so its norm is
    known.
    """
    at = torch.arange(12, dtype=torch.float64)
    angle = math.pi / 13 * 3 if boundary == "dirichlet" else 2 * math.pi / 12 * 3
    wave = torch.sin(angle * (at + 1)).view(1, 1, 12, 1).expand(1, 2, 12, 7).contiguous()
    if boundary == "dirichlet":
        wave = wave * torch.sin(math.pi / 8 * 2 * torch.arange(1, 8, dtype=torch.float64))
    across = ALPHA * (2 - 2 * math.cos(math.pi / 8 * 2)) * 8**2 if boundary == "dirichlet" else 0.0
    factor = 1 + ALPHA * (2 - 2 * math.cos(angle)) * cells**2 + across
    expected = factor**4 * (wave**2).sum(1).mean()
    assert torch.isclose(operator_norm(wave, ALPHA, 2, boundary), expected, rtol=1e-12)


@EVERY_BOUNDARY
def test_gradient_of_the_norm_is_twice_the_operator_twice(boundary):
    velocity = noise((5, 6), channels=2)[:1].requires_grad_()
    (gradient,) = torch.autograd.grad(operator_norm(velocity, ALPHA, 2, boundary) * 30, velocity)
    assert torch.allclose(gradient, 2 * operator(velocity, ALPHA, 4, boundary), atol=1e-10)
