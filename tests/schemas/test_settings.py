"""Settings: what the environment says, and that every one is written down."""

import re

import pytest

from vidsim.schemas.errors import SettingsError
from vidsim.schemas.settings import (
    DEPLOYMENT_VARIABLES,
    SETTINGS_FILE,
    Settings,
    settings,
    unknown_in_environment,
)
from vidsim.schemas.video import SEGMENT_SECONDS

from ..helpers.repository import ROOT


@pytest.fixture(autouse=True)
def clean(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))  # the default home may have a settings file
    for name in Settings.model_fields:
        monkeypatch.delenv(f"VIDSIM_{name.upper()}", raising=False)


def test_defaults_need_no_environment():
    found = settings()
    assert found.home.is_absolute()
    assert found.cache.is_absolute()
    assert found.home != found.cache
    assert (found.uri, found.token, found.workers) == (None, None, None)
    assert found.device == "auto"
    assert found.segment_seconds == SEGMENT_SECONDS


def test_the_environment_goes_before_defaults_and_is_read_at_each_call(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    values = {
        "HOME": "~/videos",
        "CACHE": "~/weights",
        "URI": "http://127.0.0.1:19530",
        "TOKEN": "root:secret",
        "DEVICE": "cpu",
        "WORKERS": "3",
        "SEGMENT_SECONDS": "2.5",
    }
    for name, value in values.items():
        monkeypatch.setenv(f"VIDSIM_{name}", value)
    found = settings()
    assert (found.home, found.cache) == (tmp_path / "videos", tmp_path / "weights")
    assert (found.uri, found.device) == ("http://127.0.0.1:19530", "cpu")
    assert (found.workers, found.segment_seconds) == (3, 2.5)
    assert found.token is not None
    assert found.token.get_secret_value() == "root:secret"
    assert "secret" not in repr(found)

    monkeypatch.setenv("VIDSIM_WORKERS", "5")
    assert settings().workers == 5


def test_an_empty_variable_is_as_good_as_none(monkeypatch):
    for name in Settings.model_fields:
        monkeypatch.setenv(f"VIDSIM_{name.upper()}", "")
    assert settings().uri is None
    assert settings().device == "auto"


def test_a_relative_folder_is_made_absolute(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VIDSIM_CACHE", "here")
    assert settings().cache == tmp_path / "here"


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("VIDSIM_DEVICE", "tpu"),
        ("VIDSIM_WORKERS", "many"),
        ("VIDSIM_WORKERS", "0"),
        ("VIDSIM_SEGMENT_SECONDS", "0.5"),
        ("VIDSIM_SEGMENT_SECONDS", "nan"),
        ("VIDSIM_SEGMENT_SECONDS", "inf"),
        ("VIDSIM_HOME", "~nobody-of-that-name/videos"),
    ],
)
def test_a_bad_value_is_one_sentence_that_names_it(monkeypatch, variable, value):
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError) as caught:
        settings()
    said = str(caught.value)
    assert said.startswith(f"{variable}={value} cannot be used (")
    assert said.endswith("; correct it or unset it.")
    assert "\n" not in said


def test_the_settings_file_is_read_after_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("VIDSIM_HOME", str(tmp_path))
    text = "VIDSIM_DEVICE=cpu\nVIDSIM_WORKERS=3\nVIDSIM_HOME=/elsewhere\nVIDSIM_OTHER=1\n"
    (tmp_path / SETTINGS_FILE).write_text(text)
    monkeypatch.setenv("VIDSIM_WORKERS", "2")
    found = settings()
    assert (found.device, found.workers, found.home) == ("cpu", 2, tmp_path)


def test_a_bad_value_in_the_settings_file_names_the_file(monkeypatch, tmp_path):
    monkeypatch.setenv("VIDSIM_HOME", str(tmp_path))
    (tmp_path / SETTINGS_FILE).write_text("VIDSIM_DEVICE=tpu\n")
    with pytest.raises(SettingsError, match=f"VIDSIM_DEVICE=tpu in {tmp_path}/{SETTINGS_FILE} can"):
        settings()


def test_every_setting_is_written_down():
    written = "".join((ROOT / name).read_text() for name in ("README.md", "docs/settings.md"))
    for name in Settings.model_fields:
        assert f"`VIDSIM_{name.upper()}`" in written, f"{name} is in no document"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("VIDSIM_CACH", "VIDSIM_CACH is not a setting; did you mean VIDSIM_CACHE?"),
        ("VIDSIM_CACHE_DIR", "VIDSIM_CACHE_DIR is not a setting; did you mean VIDSIM_CACHE?"),
        ("VIDSIM_WORKER", "VIDSIM_WORKER is not a setting; did you mean VIDSIM_WORKERS?"),
        ("VIDSIM_FOO", "VIDSIM_FOO is not a setting; docs/settings.md lists them."),
    ],
)
def test_a_variable_that_nothing_reads_is_told(name, said):
    assert unknown_in_environment([name, "VIDSIM_HOME"]) == [said]


def test_variables_of_others_are_left_alone():
    others = ["HOME", "VIDSIM_TEST_DATA", "VIDSIM_CI", "VIDSIM_CI_X", "VIDSIM_LOG", "vidsim_home"]
    assert unknown_in_environment([*others, *DEPLOYMENT_VARIABLES]) == []


def test_it_is_told_once(monkeypatch, caplog):
    monkeypatch.setenv("VIDSIM_TOLD_ONCE", "1")
    for _ in range(2):
        settings()
    assert [r.message for r in caplog.records].count(
        "VIDSIM_TOLD_ONCE is not a setting; docs/settings.md lists them."
    ) == 1


def test_names_in_the_settings_file_that_have_no_effect_are_told(monkeypatch, tmp_path, caplog):
    monkeypatch.setenv("VIDSIM_HOME", str(tmp_path))
    file = tmp_path / SETTINGS_FILE
    file.write_text("DEVICE=cpu\nvidsim_workers=2\nVIDSIM_LOG=x\nVIDSIM_URL=here\n")
    assert (settings().device, settings().workers) == ("auto", 2)
    assert [r.message for r in caplog.records] == [
        f"DEVICE in {file} is not a setting; did you mean VIDSIM_DEVICE?",
        f"VIDSIM_LOG in {file} has no effect; set it in the environment.",
        f"VIDSIM_URL in {file} is not a setting; did you mean VIDSIM_URI?",
    ]


def test_all_that_the_compose_files_read_is_known():
    files = (ROOT / "deploy").glob("*.yaml")
    read = {n for f in files for n in re.findall(r"\$\{(VIDSIM_\w+)", f.read_text())}
    assert read == DEPLOYMENT_VARIABLES


def test_lines_that_are_no_settings_are_told_once_and_by_their_file(tmp_path, caplog):
    file = tmp_path / "home" / SETTINGS_FILE
    file.parent.mkdir()
    file.write_text('VIDSIM_WORKERS=3\nfoo bar\nVIDSIM_DEVICE=cpu\n"a b\nc d\n')
    assert settings(file.parent).workers == 3
    told = [record.getMessage() for record in caplog.records]
    assert f"Line 2 and 2 more of {file} is no NAME=value; correct that." in told
    assert not [line for line in told if "dotenv" in line]
