"""Two exports side by side: the same videos, the same protocol, and a paired test."""

from __future__ import annotations

from dataclasses import replace

import pytest

from vidsim.ingest.exchange.export import export
from vidsim.ingest.shards.home import open_shards
from vidsim.ingest.system.progress import Silent
from vidsim.schemas.embedding import EmbeddedVideo
from vidsim.schemas.errors import LibraryError, ModelError
from vidsim.schemas.evaluation import EvaluationReport
from vidsim.schemas.rounding import rounded
from vidsim.search.evaluation.report import text_lines

from ...helpers.embedded_videos import embedded
from ...helpers.evaluations import UNEQUAL, figure, near, run, videos

pytestmark = pytest.mark.usefixtures("h5_in_thread")

OTHER = ("labhist", "resnet50", "yamnet", "i3d")


def exported(folder, made: list[EmbeddedVideo]):
    """An export of these videos alone."""
    open_shards(folder / "home").write(made[0].video.library, made)
    export(folder / "home", folder / "export", [], Silent())
    return folder / "export"


def by_resnet(made: list[EmbeddedVideo], noise: float) -> list[EmbeddedVideo]:
    """The same videos with frames of another network, which knows the class by so much noise."""
    found = []
    for i, video in enumerate(made):
        drawn = embedded("x/x", backbones=("resnet50",), seed=300 + i, segments=len(video.segments))
        center = embedded(
            "x/x", backbones=("resnet50",), seed=2000 + sorted(CLASSES).index(video.video.label)
        )
        parts = [
            replace(
                part,
                rows={n: r for n, r in part.rows.items() if n != "efficientnet_lite0"} | other.rows,
            )
            for part, other in zip(
                video.embeddings, near(drawn, center, noise).embeddings, strict=True
            )
        ]
        found.append(replace(video, backbones=frozenset(OTHER), embeddings=tuple(parts)))
    return found


CLASSES = {"snow", "rain", "sun", "fog"}


def named(made: list[EmbeddedVideo], library: str) -> list[EmbeddedVideo]:
    """The same videos in a library of another name."""
    return [
        replace(
            v,
            video=replace(
                v.video, library=library, video_id=library + v.video.video_id.removeprefix("lib")
            ),
        )
        for v in made
    ]


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    return exported(tmp_path_factory.mktemp("first"), videos(noise=UNEQUAL))


@pytest.fixture(scope="module")
def second(tmp_path_factory):
    """The same videos; nothing differs but the frames, which mean little."""
    return exported(tmp_path_factory.mktemp("second"), by_resnet(videos(noise=UNEQUAL), 100))


def test_each_configuration_is_tested_against_its_like(first, second):
    report = run(first, "leave-one-out", "group", against=second).report
    alone = {"": run(first, "leave-one-out", "group").report}
    alone["against:"] = run(second, "leave-one-out", "group").report
    for prefix, other in alone.items():
        for wanted in other.figures:
            found = figure(report, wanted.protocol, prefix + wanted.configuration)
            assert found.model_copy(update={"configuration": wanted.configuration}) == wanted
    names = ["color", "frame", "audio", "motion", "fused"]
    assert [(t.first, t.second) for t in report.comparisons if t.protocol == "group"] == [
        (name, f"against:{name}") for name in names
    ]
    for t in report.comparisons:
        a, b = figure(report, t.protocol, t.first), figure(report, t.protocol, t.second)
        assert t.accuracy.value == pytest.approx(a.accuracy.value - b.accuracy.value)
        assert t.mean_average_precision.value == pytest.approx(
            a.mean_average_precision.value - b.mean_average_precision.value
        )
        if t.first in ("frame", "fused"):
            assert t.mean_average_precision.low > 0
            assert t.mean_average_precision_p < 0.05
        else:
            assert t.accuracy.low == t.accuracy.high == 0
            assert t.accuracy_p == t.mean_average_precision_p == 1
    assert report.backbones["frame"] == "efficientnet_lite0"
    assert report.against.backbones == report.backbones | {"frame": "resnet50"}


def test_only_videos_in_common_are_measured(tmp_path):
    made = videos()
    both = made[2:20]
    (here, there), (less_here, less_there) = (
        [
            exported(tmp_path / f"{name}{n}", made_here)
            for n, made_here in enumerate((a, by_resnet(b, 5)))
        ]
        for name, a, b in (("all", made[:20], made[2:]), ("common", both, both))
    )
    report = run(here, "split", against=there).report
    wanted = run(less_here, "split", against=less_there).report
    assert (report.figures, report.comparisons) == (wanted.figures, wanted.comparisons)
    assert (report.videos, report.against.videos, report.against.first_videos) == (18, 22, 20)
    line = f"18 videos in common, of 20 in the first export and 22 in {there} (against)"
    assert text_lines(report)[0] == line


def test_libraries_of_other_names_are_matched_by_path(first, second, tmp_path):
    renamed = exported(tmp_path, named(by_resnet(videos(noise=UNEQUAL), 100), "classic"))
    report = run(first, against=renamed).report
    wanted = run(first, against=second).report
    assert report.against.libraries == ["classic"]
    assert (report.figures, report.comparisons) == (wanted.figures, wanted.comparisons)


def test_a_path_that_two_libraries_have_is_not_matched(first, tmp_path):
    made = named(videos(), "one")
    shards = open_shards(tmp_path / "home")
    shards.write("one", made)
    shards.write("two", named(videos(4), "two"))
    export(tmp_path / "home", tmp_path / "export", [], Silent())
    assert run(first, against=tmp_path / "export").report.videos == len(made) - 4


def test_another_backbone_of_the_same_folder_may_be_the_first(tmp_path):
    made = videos()
    shards = open_shards(tmp_path / "home")
    shards.write("lib", made)
    shards.write("lib", by_resnet(made, 25))
    folder = tmp_path / "export"
    export(tmp_path / "home", folder, [], Silent())
    report = run(folder, against=folder, overrides=("frame=resnet50",)).report
    assert report.backbones["frame"] == "resnet50"
    assert report.against.backbones["frame"] == "efficientnet_lite0"


def test_what_one_export_lacks_is_told(first, tmp_path):
    backbones = ("efficientnet_lite0",)
    frames = [
        replace(
            v,
            backbones=frozenset(backbones),
            embeddings=tuple(
                replace(e, rows={n: r for n, r in e.rows.items() if n in backbones}, vid2img=None)
                for e in v.embeddings
            ),
        )
        for v in videos()
    ]
    alone = exported(tmp_path / "frames", frames)
    report = run(first, against=alone).report
    assert [(t.first, t.second) for t in report.comparisons] == [("frame", "against:frame")]
    assert "fused: the other export lacks it." in report.notes
    sounds = [embedded(v.video.video_id, backbones=("yamnet",), label=v.video.label, seed=i)
              for i, v in enumerate(videos())]  # fmt: skip
    heard = exported(tmp_path / "sounds", sounds)
    with pytest.raises(ModelError, match="no modality in common; name two .*frame,against:audio"):
        run(alone, against=heard)
    (asked,) = run(alone, against=heard, compare=(("frame", "against:audio"),)).report.comparisons
    assert (asked.first, asked.second, asked.queries) == ("frame", "against:audio", 24)


def test_what_cannot_be_compared_is_one_sentence(first, second, tmp_path):
    strangers = exported(tmp_path / "other", [embedded(f"x/{n}.mp4", seed=n) for n in range(4)])
    with pytest.raises(LibraryError, match=r"no video in common.*lib/fog.*x/0\.mp4.*; give"):
        run(first, against=strangers)
    relabelled = [
        replace(v, video=replace(v.video, label="mist" if v.video.label == "fog" else "snow"))
        for v in videos()
    ]
    with pytest.raises(LibraryError, match="has the class 'fog' in .* and 'mist' in"):
        run(first, against=exported(tmp_path / "labels", relabelled))
    with pytest.raises(ModelError, match="leave --against out"):
        run(first, "split", against=second, tune_weights=True)
    with pytest.raises(ModelError, match="not tested under leaky protocols"):
        run(first, "capstone-all", against=second)


@pytest.mark.acceptance
def test_the_files_and_the_command_tell_of_both(first, second, tmp_path, vidsim_here):
    out = tmp_path / "out"
    words = ["evaluate", str(first), "--against", str(second), "--json", "--out", str(out)]
    done = vidsim_here(tmp_path / "home", *words)
    assert done.returncode == 0, done.stderr
    report = EvaluationReport.model_validate_json(done.stdout)
    exact = run(first, against=second).report.model_dump(mode="json")
    assert report.model_copy(update={"files": []}) == EvaluationReport.model_validate(
        rounded(exact)
    )
    page = (out / "report.md").read_text()
    assert "24 videos in common, of 24 in the first export and 24 in" in page
    assert "| frame | efficientnet_lite0 | resnet50 |" in page
    assert "| leave-one-out | frame | against:frame | 24 | +" in page
    assert "leave-one-out,against:frame,lib/" in (out / "predictions.csv").read_text()
    assert (out / "confusions_leave-one-out_against_frame.png").exists()
