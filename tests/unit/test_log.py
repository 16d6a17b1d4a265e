"""What the broker writes about itself."""

import io
import json
import logging
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
import structlog

from gmq.config import ConfigError
from gmq.log import configure


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture(autouse=True)
def logging_as_before():
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    for handler in [handler for handler in root.handlers if handler not in handlers]:
        root.removeHandler(handler)
        handler.close()
    root.setLevel(level)
    structlog.reset_defaults()


@pytest.fixture
def stderr(monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr("gmq.log.sys", SimpleNamespace(stderr=stream))  # pytest exchanges sys.stderr itself, between fixture and test
    return stream


@pytest.fixture
def terminal(monkeypatch):
    stream = Terminal()
    monkeypatch.setattr("gmq.log.sys", SimpleNamespace(stderr=stream))  # pytest exchanges sys.stderr itself, between fixture and test
    monkeypatch.delenv("NO_COLOR", raising=False)
    return stream


def lines(text):
    return [json.loads(line) for line in text.splitlines()]


def test_elsewhere_than_on_a_terminal_a_line_is_a_json_object(stderr):
    configure("", "info", "auto")
    structlog.get_logger().info("listening", port=4567, queue='a"\n', payload=b"\xff", what=object)
    (line,) = lines(stderr.getvalue())
    assert list(line)[:3] == ["timestamp", "level", "event"], "what every line has comes first"
    assert (line["event"], line["level"], line["port"], line["queue"]) == ("listening", "info", 4567, 'a"\n')
    age = datetime.now(UTC) - datetime.fromisoformat(line["timestamp"])
    assert line["timestamp"].endswith("Z"), "the time is in UTC"
    assert timedelta(0) <= age < timedelta(minutes=1), f"the time is wrong by {age}"


def test_on_a_terminal_a_line_is_readable_and_in_colours(terminal):
    configure("", "info", "auto")
    structlog.get_logger().info("listening", port=4567)
    assert "listening" in terminal.getvalue()
    assert "\x1b[" in terminal.getvalue(), "a terminal gets colours"
    assert "{" not in terminal.getvalue(), "a terminal gets no JSON"


def test_no_color_is_respected(terminal, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    configure("", "info", "auto")
    structlog.get_logger().info("listening")
    assert "\x1b[" not in terminal.getvalue(), "NO_COLOR is set, and there are colours"


def test_the_format_can_be_chosen(terminal):
    configure("", "info", "json")
    structlog.get_logger().info("one")
    assert lines(terminal.getvalue())[0]["event"] == "one"
    configure("", "info", "console")
    structlog.get_logger().info("two")
    assert len(terminal.getvalue().splitlines()) == 2, "a line was written twice, or not at all"


@pytest.mark.parametrize(("level", "written"), [("debug", 4), ("info", 3), ("warning", 2), ("error", 1)])
def test_lines_below_the_level_are_not_written(stderr, level, written):
    configure("", level, "json")
    for log in (structlog.get_logger(), logging.getLogger("asyncio.test")):
        for method in (log.debug, log.info, log.warning, log.error):
            method("something")
    found = [line["level"] for line in lines(stderr.getvalue())]
    expected = ["debug", "info", "warning", "error"][-written:]
    assert found == expected * 2, f"at level {level}: {found}"


def test_the_standard_librarys_loggers_go_the_same_way(stderr):
    configure("", "info", "json")
    try:
        int("it broke")
    except ValueError:
        logging.getLogger("asyncio").exception("task %s failed", 7)
    (line,) = lines(stderr.getvalue())
    assert (line["event"], line["level"], line["logger"]) == ("task 7 failed", "error", "asyncio")
    assert "ValueError: invalid literal" in line["exception"]


def test_an_exception_is_written_with_its_traceback(stderr):
    configure("", "info", "json")
    try:
        int("it broke")
    except ValueError:
        structlog.get_logger().exception("failed")
    (line,) = lines(stderr.getvalue())
    assert line["exception"].startswith("Traceback"), line
    assert line["exception"].endswith("'it broke'"), line


def test_a_file_is_appended_to_and_its_folders_are_created(tmp_path, terminal):
    path = tmp_path / "a" / "b" / "gmq.log"
    for event in ("one", "two"):
        configure(str(path), "info", "auto")
        structlog.get_logger().info(event, name="ö\ud800")
    assert [line["event"] for line in lines(path.read_text())] == ["one", "two"]
    assert terminal.getvalue() == "", "what goes to the file does not go to standard error too"


def test_console_lines_in_a_file_have_no_colours(tmp_path, terminal):
    configure(str(tmp_path / "gmq.log"), "info", "console")
    structlog.get_logger().info("listening", name="ö\ud800")
    text = (tmp_path / "gmq.log").read_text()
    assert "listening" in text
    assert "\x1b[" not in text, "a file gets no colours"


@pytest.mark.parametrize(
    ("path", "reason"), [("/proc/nowhere/gmq.log", "No such file or directory"), ("/", "Is a directory"), ("/a\x00b", "embedded null byte")]
)
def test_a_file_that_cannot_be_written_is_refused(path, reason):
    with pytest.raises(ConfigError) as refused:
        configure(path, "info", "auto")
    assert str(refused.value) == f"log.path is {json.dumps(path)}; it cannot be written: {reason}"


def test_a_refused_file_leaves_the_log_as_it_was(stderr):
    configure("", "info", "json")
    with pytest.raises(ConfigError):
        configure("/", "info", "json")
    structlog.get_logger().info("still here")
    assert lines(stderr.getvalue())[0]["event"] == "still here"
