"""TransMatch's network: transformers for each image and between the two, and a decoder.

Attention works within windows, which are boxes of tokens. Every other block shifts the windows by
half their width, so that tokens at the faces of a window meet their neighbours (Liu et al., Swin
transformer, ICCV 2021). Features of the transformers are ``(1, X, Y, Z, C)``, channels last.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from functools import lru_cache
from typing import final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from diffeode.geometry.warp import resize
from diffeode.networks.blocks import small_head

_PATCH = 4
"""Width of the patch that makes a token of the first level, voxels."""
_LEAK = 0.01
"""Slope of the leaky rectifiers below zero."""
_CROSS_DEPTH = 2
"""Number of blocks of attention between the images on each level."""
_FORBIDDEN = -100.0
"""Number that is added to the attention between tokens that are no neighbours.

The cyclic shift of the windows brings tokens of opposite borders together. After the softmax this
number leaves nothing of their attention.
"""


@final
class TransMatchNet(nn.Module):
    """A network from two images to the displacement of each voxel.

    Chen, Zheng, Gee. TransMatch: a transformer-based multilevel dual-stream feature matching
    network for unsupervised deformable image registration. IEEE TMI 43(1), 2024. The layers that
    the authors' code holds and never uses, a second encoder among them, are not here.

    Args:
        embedding: the number of channels of the first level. It doubles at each of the three
            reductions.
        depths: the number of blocks on each level of the encoder.
        heads: the number of heads of attention on each level of the encoder. Attention between the
            images has as many as the first level.
        window: the width of the windows along each axis, tokens.
        dropped: the probability that the last block is left out in a step of training. From 0 for
            the first block it rises linearly over the blocks.
    """

    def __init__(
        self,
        embedding: int = 96,
        depths: Sequence[int] = (2, 2, 4, 2),
        heads: Sequence[int] = (4, 4, 8, 8),
        window: Sequence[int] = (5, 6, 5),
        dropped: float = 0.3,
    ) -> None:
        super().__init__()
        window, rates = tuple(window), torch.linspace(0, dropped, sum(depths)).tolist()
        widths = [embedding * 2**level for level in range(4)]
        self.encoder = _Encoder(widths, depths, heads, window, rates)
        self.cross = nn.ModuleList(_Stage(c, _CROSS_DEPTH, heads[0], window, rates) for c in widths)
        half = embedding // 2
        self.early = _normalised(2, half)
        # Channels from below, of the skip connection, and of the result.
        merged = [(2 * width, 2 * width, width) for width in reversed(widths[:-1])]
        merged.append((embedding, half, half))
        self.decoder = nn.ModuleList(
            nn.Sequential(_normalised(below + skip, result), _normalised(result, result))
            for below, skip, result in merged
        )
        self.head = small_head(half)

    def forward(self, fixed: Tensor, moving: Tensor) -> Tensor:
        """Return the displacement ``(1, 3, *size)``, voxels; the size must be divisible by 32."""
        early = self.early(F.avg_pool3d(torch.cat([moving, fixed], dim=1), 3, stride=2, padding=1))
        ours, theirs = self.encoder(moving), self.encoder(fixed)
        matched = [
            torch.cat([_channels_first(cross(m, f)), _channels_first(cross(f, m))], dim=1)
            for cross, m, f in zip(self.cross, ours, theirs, strict=True)
        ]
        # The decoder starts from the moving image's half of the deepest level.
        x = matched[-1][:, : matched[-1].shape[1] // 2]
        for merge, skip in zip(self.decoder, [*reversed(matched[:-1]), early], strict=True):
            x = merge(torch.cat([resize(x, skip.shape[2:]), skip], dim=1))
        return self.head(resize(x, fixed.shape[2:])).float()


class _Encoder(nn.Module):
    """Four levels of blocks, each with half as many tokens along every axis as the one before."""

    def __init__(
        self,
        widths: Sequence[int],
        depths: Sequence[int],
        heads: Sequence[int],
        window: tuple[int, ...],
        rates: Sequence[float],
    ) -> None:
        super().__init__()
        self.embed = nn.Conv3d(1, widths[0], _PATCH, stride=_PATCH)
        self.norm = nn.LayerNorm(widths[0])
        ends = [0, *itertools.accumulate(depths)]
        self.levels = nn.ModuleList(
            _Stage(c, depth, n, window, rates[start:])
            for c, depth, n, start in zip(widths, depths, heads, ends[:-1], strict=True)
        )
        self.merges = nn.ModuleList(_Merging(c) for c in widths[:-1])

    def forward(self, image: Tensor) -> list[Tensor]:
        x = self.norm(_channels_last(self.embed(image)))
        features = []
        for index, level in enumerate(self.levels):
            x = level.blocks_of(x, x)
            features.append(level.norm(x))
            if index < len(self.merges):
                x = self.merges[index](x)
        return features


class _Stage(nn.Module):
    """The blocks of one level, and the normalisation of their output."""

    def __init__(
        self, channels: int, depth: int, heads: int, window: tuple[int, ...], rates: Sequence[float]
    ) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            _Block(channels, heads, window, bool(index % 2), rate)
            for index, rate in enumerate(itertools.islice(rates, depth))
        )
        self.norm = nn.LayerNorm(channels)

    def forward(self, x: Tensor, other: Tensor) -> Tensor:
        return self.norm(self.blocks_of(x, other))

    def blocks_of(self, x: Tensor, other: Tensor) -> Tensor:
        """Return ``x`` after all blocks; the queries of their attention come from ``other``.

        Where ``other`` is ``x`` itself, every block takes its queries from the current ``x``.
        """
        alone = other is x
        for block in self.blocks:
            x = block(x, x if alone else other)
        return x


class _Block(nn.Module):
    """Attention in windows and then two dense layers; the output of either is added to its
    input.
    """

    def __init__(
        self, channels: int, heads: int, window: tuple[int, ...], shifted: bool, rate: float
    ) -> None:
        super().__init__()
        self.window, self.rate = window, rate
        self.shift = tuple(n // 2 if shifted else 0 for n in window)
        self.norm1, self.norm2 = nn.LayerNorm(channels), nn.LayerNorm(channels)
        self.attention = _WindowAttention(channels, heads, window)
        self.dense = nn.Sequential(
            nn.Linear(channels, 4 * channels), nn.GELU(), nn.Linear(4 * channels, channels)
        )

    def forward(self, x: Tensor, other: Tensor) -> Tensor:
        asked = self._windows(self.norm1(x))
        asking = asked if other is x else self._windows(self.norm1(other))
        found = self._image(self.attention(asked, asking, self._mask(x)), x.shape)
        x = x + self._sometimes(found)
        return x + self._sometimes(self.dense(self.norm2(x)))

    def _windows(self, x: Tensor) -> Tensor:
        """Return the windows ``(windows, tokens, C)`` of ``x (1, X, Y, Z, C)``.

        The tokens are padded with zeros to whole windows and shifted before they are cut.
        """
        pad = [0, 0]  # no channels; torch pads the last axis first
        for n, m in zip(x.shape[3:0:-1], self.window[::-1], strict=True):
            pad += [0, -n % m]
        shifted = torch.roll(F.pad(x, pad), [-s for s in self.shift], (1, 2, 3))
        return _cut(shifted, self.window)

    def _image(self, windows: Tensor, shape: torch.Size) -> Tensor:
        """Return the tokens ``(1, X, Y, Z, C)`` from which :meth:`_windows` cut these windows."""
        counts = [-(-n // m) for n, m in zip(shape[1:4], self.window, strict=True)]
        x = windows.view(*counts, *self.window, -1).permute(0, 3, 1, 4, 2, 5, 6)
        x = x.reshape(1, *(n * m for n, m in zip(counts, self.window, strict=True)), shape[-1])
        x = torch.roll(x, self.shift, (1, 2, 3))
        return x[:, : shape[1], : shape[2], : shape[3]]

    def _mask(self, x: Tensor) -> Tensor | None:
        """Return what is added to the attention of shifted windows; None where none is shifted."""
        if not any(self.shift):
            return None
        counts = tuple(-(-n // m) for n, m in zip(x.shape[1:4], self.window, strict=True))
        return _mask_of(counts, self.window).to(x.device)

    def _sometimes(self, change: Tensor) -> Tensor:
        """Return ``change``, or in training with a probability of ``rate`` nothing.

        In training it is divided by ``1 - rate`` where it is kept, so that its mean is right
        (stochastic depth; Huang et al., ECCV 2016).
        """
        if not self.training or self.rate == 0:
            return change
        kept = torch.rand((), device=change.device) >= self.rate
        return change * (kept.to(change) / (1 - self.rate))


class _WindowAttention(nn.Module):
    """Attention of several heads within each window.

    For every relative position of two tokens an offset is learned, which is added to their
    attention.
    """

    def __init__(self, channels: int, heads: int, window: tuple[int, ...]) -> None:
        super().__init__()
        self.heads = heads
        self.projections = nn.Linear(channels, 3 * channels, bias=False)
        self.out = nn.Linear(channels, channels)
        self.offsets = nn.Parameter(torch.empty(math.prod(2 * n - 1 for n in window), heads))
        nn.init.trunc_normal_(self.offsets, std=0.02)
        self.register_buffer("relative", _relative_positions(window), persistent=False)

    def forward(self, asked: Tensor, asking: Tensor, mask: Tensor | None) -> Tensor:
        """Return the attended values, ``(windows, tokens, C)``.

        Args:
            asked: the tokens from which keys and values come.
            asking: the tokens from which queries come.
            mask: what is added to the attention, ``(windows, tokens, tokens)``.
        """
        query_weight, rest_weight = self.projections.weight.split(
            [asked.shape[-1], 2 * asked.shape[-1]]
        )
        query = self._split(F.linear(asking, query_weight))
        key, value = (self._split(part) for part in F.linear(asked, rest_weight).chunk(2, dim=-1))
        offset = self.offsets[self.relative].permute(2, 0, 1)[None]
        if mask is not None:
            offset = offset + mask[:, None]
        found = F.scaled_dot_product_attention(query, key, value, attn_mask=offset.to(query))
        return self.out(found.transpose(1, 2).flatten(2))

    def _split(self, x: Tensor) -> Tensor:
        """Return ``x (windows, tokens, C)`` as ``(windows, heads, tokens, C / heads)``."""
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class _Merging(nn.Module):
    """The reduction from eight neighbouring tokens to one token of twice as many channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(8 * channels)
        self.reduce = nn.Linear(8 * channels, 2 * channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        corners = [x[:, i::2, j::2, k::2] for i, j, k in _CORNERS]
        return self.reduce(self.norm(torch.cat(corners, dim=-1)))


_CORNERS = tuple(itertools.product((0, 1), repeat=3))


def _normalised(inputs: int, outputs: int) -> nn.Sequential:
    """Return a convolution with instance normalisation and a leaky rectifier."""
    return nn.Sequential(
        nn.Conv3d(inputs, outputs, 3, padding=1, bias=False),
        nn.InstanceNorm3d(outputs),
        nn.LeakyReLU(_LEAK),
    )


def _cut(x: Tensor, window: tuple[int, ...]) -> Tensor:
    """Return the windows ``(windows, tokens, C)`` of ``x (1, X, Y, Z, C)``, which has whole
    ones.
    """
    counts = [n // m for n, m in zip(x.shape[1:4], window, strict=True)]
    x = x.view(counts[0], window[0], counts[1], window[1], counts[2], window[2], -1)
    return x.permute(0, 2, 4, 1, 3, 5, 6).reshape(math.prod(counts), math.prod(window), -1)


@lru_cache(maxsize=32)
def _mask_of(counts: tuple[int, ...], window: tuple[int, ...]) -> Tensor:
    """Return what is added to the attention of shifted windows, ``(windows, tokens, tokens)``.

    It is 0 for two tokens of one region and ``_FORBIDDEN`` for tokens of two regions. Along each
    axis the windows before the last one are one region. The last window has two regions: the tokens
    that were there, and behind them those that the cyclic shift brought from the other end.
    """
    region = torch.zeros(1, *(n * m for n, m in zip(counts, window, strict=True)), 1)
    for axis, m in enumerate(window):
        along = torch.zeros(region.shape[axis + 1])
        along[-m:] = 1
        along[-(m // 2) :] = 2
        region = 3 * region + along.view(*[-1 if a == axis + 1 else 1 for a in range(5)])
    tokens = _cut(region, window)[..., 0]
    return torch.where(tokens[:, :, None] == tokens[:, None, :], 0.0, _FORBIDDEN)


def _relative_positions(window: tuple[int, ...]) -> Tensor:
    """Return the index of the offset of every two tokens of a window, ``(tokens, tokens)``."""
    along_axes = [torch.arange(n) for n in window]
    places = torch.stack(torch.meshgrid(*along_axes, indexing="ij")).flatten(1)
    row = torch.zeros(places.shape[1], places.shape[1], dtype=torch.long)
    for axis, n in enumerate(window):
        row = row * (2 * n - 1) + places[axis][:, None] - places[axis][None] + n - 1
    return row


def _channels_last(x: Tensor) -> Tensor:
    return x.permute(0, 2, 3, 4, 1)


def _channels_first(x: Tensor) -> Tensor:
    return x.permute(0, 4, 1, 2, 3)
