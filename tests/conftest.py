"""Every test for itself: no cache, log or setting of another."""

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

from fine_tuning_stub import Stub
from report_study import write_study
from wg_evals.analysis.reporting.page import write_report

if TYPE_CHECKING:
    from playwright.sync_api import Browser

# a slow machine is no failure: the first example of a test may pay for an import
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")


@pytest.fixture(autouse=True)
def _apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INSPECT_CACHE_DIR", str(tmp_path / "inspect-cache"))
    monkeypatch.setenv("INSPECT_DISPLAY", "none")
    monkeypatch.setenv("NO_COLOR", "1")
    for name in ("INSPECT_EVAL_MODEL", "INSPECT_EVAL_MODEL_ROLE", "INSPECT_LOG_DIR"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def browser() -> "Iterator[Browser]":
    """A headless Chromium; a test that wants one is skipped where there is none."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("no Chromium on this machine")
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with api.sync_playwright() as playwright:
        args = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        started = playwright.chromium.launch(executable_path=chromium, args=args)
        yield started
        started.close()


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small study of the report's tests."""
    return write_study(tmp_path_factory.mktemp("study"))


@pytest.fixture(scope="module")
def exported(study: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with its report, and the report's files in `files`."""
    folder = tmp_path_factory.mktemp("report")
    write_report(study, folder / "report.html", folder / "files")
    return folder


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Callable[[Stub], Stub]:
    """Point the clients of both fine-tuning APIs at a server."""

    def point(stub: Stub) -> Stub:
        monkeypatch.setenv("OPENAI_BASE_URL", stub.url)
        monkeypatch.setenv("OPENAI_API_KEY", "sk-stub")
        monkeypatch.setenv("TOGETHER_BASE_URL", stub.url)
        monkeypatch.setenv("TOGETHER_API_KEY", "stub")
        return stub

    return point


@pytest.fixture
def child() -> Iterator[list[subprocess.Popen[Any]]]:
    """The process of a client; it does not outlive its test."""
    children: list[subprocess.Popen[Any]] = []
    yield children
    for process in children:
        process.kill()
        process.wait()
