"""What an error says to write is what Hydra then understands."""

import re
import shlex

import pytest

from hyperspec.config.compose import compose_words, quoted
from hyperspec.utils.errors import ConfigError

HARD = [
    "/data/scans (copy)",
    "/data/a,b",
    "/data/a, b",
    "/data/x=1",
    "/data/[x] {y}",
    "/data/Darwin's",
    '/data/5" disc',
    "C:\\scans (x)\\",
    '/data/\\"x(',
    "/data/a;b#c&d!",
]


@pytest.mark.parametrize("name", HARD)
def test_a_quoted_name_is_read_as_it_is(name):
    (word,) = shlex.split(quoted("data.root", name))
    assert compose_words([word]).data.root == name


@pytest.mark.parametrize("name", HARD)
def test_a_name_with_marks_is_told_how_to_quote(name):
    with pytest.raises(ConfigError) as caught:
        compose_words([f"data.root={name}"])
    (advice,) = re.findall(r"quote it for Hydra and for the shell: (.*) \(`hyp", str(caught.value))
    assert advice == quoted("data.root", " ".join(name.split()))


def test_names_in_a_list_are_quoted_each():
    with pytest.raises(ConfigError, match=r"quote each: 'data.split.hold_out=\[\"Morpho \(L\.\)\""):
        compose_words(["data.split.hold_out=[Morpho (L.), b]"])


@pytest.mark.parametrize("word", ["bands.n=[1,2", "data.siz=3", "bands.n=many"])
def test_other_mistakes_get_no_advice_on_quotes(word):
    with pytest.raises(ConfigError) as caught:
        compose_words([word])
    assert "quote" not in str(caught.value)
