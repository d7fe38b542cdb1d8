"""What the code keeps to besides style: nothing too long."""

from tests.code_figures import functions, modules, too_long, too_many_parameters


def test_nothing_is_too_long():
    assert too_long() == []


def test_nothing_has_too_many_parameters():
    assert too_many_parameters() == []


def test_the_figures_are_of_all_code():
    assert len(modules()) > 100
    assert sum(1 for _ in functions()) > 1000
