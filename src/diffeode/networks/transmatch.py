"""TransMatch's network: windowed self-attention of each image, windowed attention between the two,
a decoder.

Windows are boxes of tokens; every other block shifts them by half a window, so that neighbours meet
(Liu et al., Swin transformer, ICCV 2021). Features travel as ``(1, X, Y, Z, C)``.
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
_LEAK = 0.01
_CROSS_DEPTH = 2
_FORBIDDEN = -100.0
"""Added to the attention between tokens that the shift brought together from opposite borders."""


@final
class TransMatchNet(nn.Module):
    """Displacement of each voxel from two images.

    Chen, Zheng, Gee. TransMatch: a transformer-based multilevel dual-stream feature matching
    network for unsupervised deformable image registration. IEEE TMI 43(1), 2024. The authors' code
    also holds layers that it never uses (a second encoder among them); they are not here.

    Args:
        embedding: channels of the first level, doubled at each of the three reductions.
        depths: blocks of each level of the encoder.
        heads: of each level of the encoder; attention between the images has as many as the first.
        window: tokens along each axis.
        dropped: with what probability a block is left out in training: 0 at the first, this at the
            last.
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
        self.decoder = nn.ModuleList(
            nn.Sequential(_normalised(a + b, c), _normalised(c, c))
            for a, b, c in (
                *((2 * w, 2 * w, w) for w in reversed(widths[:-1])),
                (embedding, half, half),
            )
        )
        self.head = small_head(half)

    def forward(self, fixed: Tensor, moving: Tensor) -> Tensor:
        """Displacement ``(1, 3, *size)``, voxels; the size must be divisible by 32."""
        early = self.early(F.avg_pool3d(torch.cat([moving, fixed], dim=1), 3, stride=2, padding=1))
        ours, theirs = self.encoder(moving), self.encoder(fixed)
        matched = [
            torch.cat([_channels_first(cross(m, f)), _channels_first(cross(f, m))], dim=1)
            for cross, m, f in zip(self.cross, ours, theirs, strict=True)
        ]
        x = matched[-1][:, : matched[-1].shape[1] // 2]
        for merge, skip in zip(self.decoder, [*reversed(matched[:-1]), early], strict=True):
            x = merge(torch.cat([resize(x, skip.shape[2:]), skip], dim=1))
        return self.head(resize(x, fixed.shape[2:])).float()


class _Encoder(nn.Module):
    """Four levels of tokens, the first one of patches of 4 voxels an axis."""

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
    """Blocks of one level, and the normalisation of what leaves them."""

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
        """``x`` after all blocks, which ask with the queries of ``other``; of ``x`` itself where
        that is ``x``.
        """
        alone = other is x
        for block in self.blocks:
            x = block(x, x if alone else other)
        return x


class _Block(nn.Module):
    """Attention in windows, then two dense layers, each added to its input."""

    def __init__(
        self, channels: int, heads: int, window: tuple[int, ...], shifted: bool, rate: float
    ) -> None:
        super().__init__()
        self.window, self.shift, self.rate = (
            window,
            tuple(n // 2 if shifted else 0 for n in window),
            rate,
        )
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
        """``(1, X, Y, Z, C)`` padded with zeros, shifted and cut: ``(windows, tokens, C)``."""
        x = F.pad(
            x,
            [
                0,
                0,
                *(
                    w
                    for n, m in zip(x.shape[3:0:-1], self.window[::-1], strict=True)
                    for w in (0, -n % m)
                ),
            ],
        )
        return _cut(torch.roll(x, [-s for s in self.shift], (1, 2, 3)), self.window)

    def _image(self, windows: Tensor, shape: torch.Size) -> Tensor:
        """What :meth:`_windows` cut, put together again."""
        counts = [-(-n // m) for n, m in zip(shape[1:4], self.window, strict=True)]
        x = windows.view(*counts, *self.window, -1).permute(0, 3, 1, 4, 2, 5, 6)
        x = x.reshape(1, *(n * m for n, m in zip(counts, self.window, strict=True)), shape[-1])
        x = torch.roll(x, self.shift, (1, 2, 3))
        return x[:, : shape[1], : shape[2], : shape[3]]

    def _mask(self, x: Tensor) -> Tensor | None:
        if not min(self.shift):
            return None
        counts = tuple(-(-n // m) for n, m in zip(x.shape[1:4], self.window, strict=True))
        return _mask_of(counts, self.window).to(x.device)

    def _sometimes(self, change: Tensor) -> Tensor:
        """``change``, in training left out with a probability and made up for otherwise (stochastic
        depth).
        """
        if not self.training or self.rate == 0:
            return change
        return change * (
            (torch.rand((), device=change.device) >= self.rate).to(change) / (1 - self.rate)
        )


class _WindowAttention(nn.Module):
    """Attention of several heads inside each window, with an offset learned for each relative
    position.
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
        """Keys and values of ``asked (windows, tokens, C)``, queries of ``asking``."""
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
        """``(windows, tokens, C)`` as ``(windows, heads, tokens, C / heads)``."""
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class _Merging(nn.Module):
    """Eight neighbours into one token of twice as many channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(8 * channels)
        self.reduce = nn.Linear(8 * channels, 2 * channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.reduce(
            self.norm(torch.cat([x[:, i::2, j::2, k::2] for i, j, k in _CORNERS], dim=-1))
        )


_CORNERS = tuple(itertools.product((0, 1), repeat=3))


def _normalised(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv3d(inputs, outputs, 3, padding=1, bias=False),
        nn.InstanceNorm3d(outputs),
        nn.LeakyReLU(_LEAK),
    )


def _cut(x: Tensor, window: tuple[int, ...]) -> Tensor:
    counts = [n // m for n, m in zip(x.shape[1:4], window, strict=True)]
    x = x.view(counts[0], window[0], counts[1], window[1], counts[2], window[2], -1)
    return x.permute(0, 2, 4, 1, 3, 5, 6).reshape(math.prod(counts), math.prod(window), -1)


@lru_cache(maxsize=32)
def _mask_of(counts: tuple[int, ...], window: tuple[int, ...]) -> Tensor:
    """What is added to the attention of shifted windows, ``(windows, tokens, tokens)``: only true
    neighbours meet.
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
    """For each two tokens of a window the row of the offsets, ``(tokens, tokens)``."""
    places = torch.stack(torch.meshgrid(*(torch.arange(n) for n in window), indexing="ij")).flatten(
        1
    )
    row = torch.zeros(places.shape[1], places.shape[1], dtype=torch.long)
    for axis, n in enumerate(window):
        row = row * (2 * n - 1) + places[axis][:, None] - places[axis][None] + n - 1
    return row


def _channels_last(x: Tensor) -> Tensor:
    return x.permute(0, 2, 3, 4, 1)


def _channels_first(x: Tensor) -> Tensor:
    return x.permute(0, 4, 1, 2, 3)
