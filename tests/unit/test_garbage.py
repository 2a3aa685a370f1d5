"""How often Python looks for garbage."""

import gc

import pytest

from diffeode.process.garbage import rarely_collecting


def test_garbage_is_searched_less_often_in_the_block_and_as_before_after_it():
    usual = gc.get_threshold()

    @rarely_collecting()
    def failing():
        assert gc.isenabled()
        assert gc.get_threshold()[0] > 10 * usual[0]
        raise ValueError("any")

    with pytest.raises(ValueError, match="any"):
        failing()
    assert gc.get_threshold() == usual
