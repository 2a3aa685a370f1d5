"""Chunks hold every pair once, in order."""

import pytest

from diffeode.study.chunks import chunks_of

PAIRS = [f"p{number}" for number in range(23)]


@pytest.mark.parametrize("size", [1, 2, 5, 23, 100])
def test_every_pair_is_in_one_chunk_in_order(size):
    chunks = chunks_of(PAIRS, size)
    assert [pair for chunk in chunks.values() for pair in chunk] == PAIRS
    assert all(len(chunk) == size for chunk in list(chunks.values())[:-1])
    assert 1 <= len(list(chunks.values())[-1]) <= size


def test_names_tell_the_places_of_the_first_and_the_last_pair():
    assert list(chunks_of(PAIRS, 10)) == ["0001-0010", "0011-0020", "0021-0023"]
    assert chunks_of([], 3) == {}


def test_a_chunk_of_nothing_is_refused():
    with pytest.raises(ValueError, match="holds nothing"):
        chunks_of(PAIRS, 0)
