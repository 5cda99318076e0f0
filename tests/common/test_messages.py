"""Errors as one line."""

import pytest

from sparseift import UserError
from sparseift.common.messages import Arguments, one_line, one_line_errors


def test_one_line() -> None:
    error = ValueError("\n one\n   of two\n\nthree\n")
    assert one_line(error) == "one of two three"
    assert one_line(error, whole=False) == "one"
    assert one_line(ValueError()) == one_line(ValueError(), whole=False) == "ValueError"


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (UserError("wrong\nhere"), 2, "wrong here"),
        (FileNotFoundError(2, "No such file", "a"), 2, "[Errno 2] No such file: 'a'"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_exit_codes(capsys, error: BaseException, code: int, message: str) -> None:
    with pytest.raises(SystemExit) as stopped, one_line_errors():
        raise error
    assert stopped.value.code == code
    assert capsys.readouterr() == ("", f"sparseift: {message}\n")


def test_arguments() -> None:
    with pytest.raises(UserError, match=r"^unrecognized arguments: --x; see --help$"):
        Arguments().parse_args(["--x"])
