"""VGGish against numpy, on a checkpoint made here: the published one is out of reach.

The checkpoint has the format, names and shapes of Google's ``vggish_model.ckpt``
(tensorflow/models, research/audioset/vggish) and random values.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from vidsim.ingest.decode.events import SegmentMedia
from vidsim.ingest.extract.audio import AudioExtractor
from vidsim.ingest.models.networks.quantization import dequantize, quantize
from vidsim.schemas.backbones import BACKBONES
from vidsim.schemas.errors import WorkerError
from vidsim.schemas.video import Segment

from ...helpers.sounds import mel_magnitudes, run_tensorflow

pytestmark = pytest.mark.acceptance  # its checkpoint of 288 MB is made and read many times

PATCH_SAMPLES = 15_600
HOP_SECONDS = 0.96

SHAPES = {
    "vggish/conv1/weights": (3, 3, 1, 64),
    "vggish/conv1/biases": (64,),
    "vggish/conv2/weights": (3, 3, 64, 128),
    "vggish/conv2/biases": (128,),
    "vggish/conv3/conv3_1/weights": (3, 3, 128, 256),
    "vggish/conv3/conv3_1/biases": (256,),
    "vggish/conv3/conv3_2/weights": (3, 3, 256, 256),
    "vggish/conv3/conv3_2/biases": (256,),
    "vggish/conv4/conv4_1/weights": (3, 3, 256, 512),
    "vggish/conv4/conv4_1/biases": (512,),
    "vggish/conv4/conv4_2/weights": (3, 3, 512, 512),
    "vggish/conv4/conv4_2/biases": (512,),
    "vggish/fc1/fc1_1/weights": (12288, 4096),
    "vggish/fc1/fc1_1/biases": (4096,),
    "vggish/fc1/fc1_2/weights": (4096, 4096),
    "vggish/fc1/fc1_2/biases": (4096,),
    "vggish/fc2/weights": (4096, 128),
    "vggish/fc2/biases": (128,),
}

SAVE = """
import sys
import numpy as np
import tensorflow as tf
for given in sys.argv[1:]:
    arrays = dict(np.load(given))
    made = given.removesuffix("given.npz") + "vggish_model.ckpt"
    tf.raw_ops.Save(filename=made, tensor_names=list(arrays), data=list(arrays.values()))
"""

EMBED = """
import sys
from pathlib import Path
import numpy as np
from vidsim.ingest.models.networks.vggish import load_vggish, variable_shapes
patches = np.load(sys.argv[2])
raw = load_vggish(Path(sys.argv[1]), postprocess=False)
full = load_vggish(Path(sys.argv[1]), postprocess=True)
np.savez(sys.argv[3], raw=raw.embed(patches), post=full.embed(patches),
         log_mel=raw.log_mel(patches), none=raw.embed(patches[:0]),
         parameters=sum(int(np.prod(s)) for s in variable_shapes().values()))
assert "torch" not in sys.modules
"""

REFUSED = """
import sys
from pathlib import Path
from vidsim.ingest.models.networks.vggish import load_vggish
from vidsim.schemas.errors import WeightsError
for folder, reason in zip(sys.argv[1::2], sys.argv[2::2]):
    try:
        load_vggish(Path(folder), postprocess=True)
    except WeightsError as error:
        assert reason in str(error) and "vidsim models pull" in str(error), error
    else:
        sys.exit(f"loaded {folder}")
"""


def random_weights() -> dict[str, np.ndarray]:
    """Values that keep activations of the same size from layer to layer."""
    random = np.random.default_rng(0)
    return {
        name: random.standard_normal(shape, np.float32)
        * np.float32(np.sqrt(2 / np.prod(shape[:-1])) if len(shape) > 1 else 0.1)
        for name, shape in SHAPES.items()
    }


def save(checkpoints: dict[Path, dict[str, np.ndarray]]) -> None:
    """Writes ``vggish_model.ckpt`` into folders as TensorFlow 1 did: one file, format V1."""
    given = [folder / "given.npz" for folder in checkpoints]
    for path, arrays in zip(given, checkpoints.values(), strict=True):
        np.savez(path, **arrays)
    run_tensorflow(SAVE, *given)
    for path in given:
        path.unlink()
        assert [p.name for p in path.parent.iterdir()] == ["vggish_model.ckpt"]


@pytest.fixture(scope="module")
def weights() -> dict[str, np.ndarray]:
    return random_weights()


@pytest.fixture(scope="module")
def pca() -> dict[str, np.ndarray]:
    """A rotation, scaled so that some components are clipped; means as a column."""
    random = np.random.default_rng(1)
    rotation, _ = np.linalg.qr(random.standard_normal((128, 128)))
    return {
        "pca_eigen_vectors": (0.5 * rotation).astype(np.float32),
        "pca_means": random.standard_normal((128, 1)).astype(np.float32),
    }


@pytest.fixture(scope="module")
def published(weights, pca, tmp_path_factory) -> Path:
    """A folder as the published files would make it."""
    folder = tmp_path_factory.mktemp("vggish")
    save({folder: weights})
    np.savez(folder / "vggish_pca_params.npz", **pca)
    return folder


@pytest.fixture(scope="module")
def patches() -> np.ndarray:
    """(18, PATCH_SAMPLES): a rising tone, silence and noises, more than one batch."""
    t = np.arange(PATCH_SAMPLES) / 16_000
    chirp = 0.5 * np.sin(2 * np.pi * (200 + 1500 * t) * t)
    noise = np.random.default_rng(2).standard_normal((16, PATCH_SAMPLES)) * 0.1
    return np.vstack([chirp, np.zeros(PATCH_SAMPLES), noise]).astype(np.float32)


@pytest.fixture(scope="module")
def results(published, patches, tmp_path_factory) -> dict[str, np.ndarray]:
    """What our network makes of `patches`."""
    folder = tmp_path_factory.mktemp("results")
    np.save(folder / "patches.npy", patches)
    run_tensorflow(EMBED, published, folder / "patches.npy", folder / "results.npz")
    return dict(np.load(folder / "results.npz"))


def convolve(x: np.ndarray, weights: dict[str, np.ndarray], name: str) -> np.ndarray:
    """3x3 convolution of (height, width, inputs), zeros around it, and ReLU."""
    padded = np.pad(x, ((1, 1), (1, 1), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(0, 1))
    y = np.einsum("hwiyx,yxio->hwo", windows, weights[f"{name}/weights"], optimize=True)
    return np.maximum(y + weights[f"{name}/biases"], 0)


def pool(x: np.ndarray) -> np.ndarray:
    """The largest of each 2x2 square of (height, width, channels)."""
    height, width, channels = x.shape
    return x.reshape(height // 2, 2, width // 2, 2, channels).max(axis=(1, 3))


def reference(log_mel: np.ndarray, weights: dict[str, np.ndarray]) -> np.ndarray:
    """(96, 64) -> (128,): the network layer by layer, in numpy."""
    x = pool(convolve(log_mel[..., None], weights, "vggish/conv1"))
    x = pool(convolve(x, weights, "vggish/conv2"))
    x = convolve(x, weights, "vggish/conv3/conv3_1")
    x = pool(convolve(x, weights, "vggish/conv3/conv3_2"))
    x = convolve(x, weights, "vggish/conv4/conv4_1")
    x = pool(convolve(x, weights, "vggish/conv4/conv4_2"))
    assert x.shape == (6, 4, 512)
    x = x.reshape(-1)
    for name in ("vggish/fc1/fc1_1", "vggish/fc1/fc1_2"):
        x = np.maximum(x @ weights[f"{name}/weights"] + weights[f"{name}/biases"], 0)
    return x @ weights["vggish/fc2/weights"] + weights["vggish/fc2/biases"]


def test_agrees_with_numpy_layer_by_layer(results, weights, patches):
    assert results["raw"].shape == (len(patches), 128)
    assert results["raw"].dtype == np.float32
    assert results["none"].shape == (0, 128)
    for i in (0, 1, 17):
        log_mel = np.log(mel_magnitudes(patches[i]) + 0.01).astype(np.float32)
        expected = reference(log_mel, weights)
        assert expected.min() < 0 < expected.max()  # no non-linearity after the last layer
        error = np.abs(results["raw"][i] - expected).max()
        assert error < 1e-4 * np.abs(expected).max()


def test_it_is_as_large_as_the_published_network(results):
    # Of 3x3 kernels 4.50 million, of the fully connected layers 67.64 million.
    assert results["parameters"] == 72_141_184
    assert sum(int(np.prod(shape)) for shape in SHAPES.values()) == 72_141_184


def test_log_mel_is_the_published_formula(results, patches):
    assert results["log_mel"].shape == (len(patches), 96, 64)
    for wave, found in zip(patches, results["log_mel"], strict=True):
        # Before the logarithm, where the rounding of float32 stays small.
        np.testing.assert_allclose(np.exp(found), mel_magnitudes(wave) + 0.01, rtol=1e-4, atol=1e-5)


def test_post_processing_is_its_definition(results, pca):
    means = pca["pca_means"][:, 0]
    whitened = np.array([pca["pca_eigen_vectors"] @ (x - means) for x in results["raw"]])
    levels = np.floor((np.clip(whitened, -2, 2) + 2) * 255 / 4)
    found = (results["post"] + 2 - 4 / 512) * 255 / 4
    assert np.abs(found - found.round()).max() < 1e-3  # 256 values and no others
    # A sum that rounding moves over the edge of a level is one level off, and rare.
    off = np.abs(found.round() - levels)
    assert off.max() <= 1
    assert off.mean() < 0.002
    assert {0, 255} <= set(levels.ravel().tolist())  # clipped on both sides
    assert len(np.unique(levels)) > 100


def test_quantising_there_and_back():
    assert quantize(np.array([-3, -2, 0, 2, 3], np.float32)).tolist() == [0, 0, 127, 255, 255]
    levels = np.arange(256, dtype=np.uint8)
    values = dequantize(levels)
    assert values.dtype == np.float32
    np.testing.assert_allclose(values, np.arange(256) * 4 / 255 + 4 / 512 - 2, atol=1e-6)
    assert np.array_equal(quantize(values), levels)
    line = np.linspace(-2, 2, 100_001, dtype=np.float32)
    # Half a step is 4/510; YouTube-8M's bias of 4/512 leaves 3e-5 more on one side.
    assert np.abs(dequantize(quantize(line)) - line).max() <= 4 / 510 + 4e-5


def media(seconds: float, start_s: float = 0.0, level: float = 0.1) -> SegmentMedia:
    """A segment of noise."""
    count = round(seconds * 16_000)
    noise = np.random.default_rng(3).standard_normal(count).astype(np.float32) * level
    return SegmentMedia(Segment(0, start_s, start_s + seconds), {}, noise)


@pytest.mark.parametrize("name", ["vggish", "vggish_raw"])
def test_rows_of_the_extractor(name, published, monkeypatch):
    monkeypatch.setattr("vidsim.ingest.extract.audio.ensure", lambda backbone: published)
    extractor = AudioExtractor(BACKBONES[name], "cpu", threads=1)
    try:
        found = extractor.embed([media(2.5, 10.0), media(0.5), media(3, level=0)])
    finally:
        extractor.close()
    long, short, silent = (embedding.rows.get(name) for embedding in found)
    assert silent is None
    assert long.vectors.shape == (3, 128)
    np.testing.assert_allclose(long.start_s, [10, 10 + HOP_SECONDS, 10 + 2 * HOP_SECONDS])
    np.testing.assert_allclose(long.end_s, [10.96, 11.92, 12.5])
    assert short.vectors.shape == (1, 128)  # padded: the published code gives it none
    assert (short.start_s[0], short.end_s[0]) == (0, 0.5)
    assert (np.abs(long.vectors).max() < 2.01) == (name == "vggish")


def test_the_extractor_says_why_weights_do_not_load(tmp_path, monkeypatch):
    monkeypatch.setattr("vidsim.ingest.extract.audio.ensure", lambda backbone: tmp_path)
    extractor = AudioExtractor(BACKBONES["vggish"], "cpu", threads=1)
    try:
        with pytest.raises(WorkerError, match="is not there, or not whole"):
            extractor.embed([media(1)])
    finally:
        extractor.close()


def test_refuses_what_is_not_vggish(published, weights, pca, tmp_path):
    cases: dict[str, str] = {}

    def case(name: str, reason: str) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        cases[str(folder)] = reason
        return folder

    case("empty", "is not there, or not whole")
    cut = case("cut", "DataLossError while reading") / "vggish_model.ckpt"
    shutil.copy(published / "vggish_model.ckpt", cut)
    os.truncate(cut, cut.stat().st_size // 2)
    kernel = {"vggish/conv1/weights": weights["vggish/conv1/weights"]}
    short, double = np.zeros(63, np.float32), np.zeros(64)
    save(
        {
            case("other", "no variable vggish/conv1/weights"): {"yamnet/conv1": short},
            case("missing", "no variable vggish/conv1/biases"): kernel,
            case("misshapen", "vggish/conv1/biases is (63,), not (64,)"): {
                **kernel,
                "vggish/conv1/biases": short,
            },
            case("double", "vggish/conv1/biases holds float64, not float32"): {
                **kernel,
                "vggish/conv1/biases": double,
            },
        }
    )

    for folder in cases:
        np.savez(Path(folder) / "vggish_pca_params.npz", **pca)

    def pca_case(name: str, reason: str) -> Path:
        return case(name, reason) / "vggish_pca_params.npz"

    pca_case("no-pca", "is not there, or not whole")
    pca_case("text", "ValueError while reading").write_text("not an archive")
    np.savez(pca_case("no-means", "no array pca_means"), pca_eigen_vectors=np.eye(128))
    wrong = pca | {"pca_eigen_vectors": np.eye(64)}
    np.savez(pca_case("square", "pca_eigen_vectors is float64 (64, 64)"), **wrong)
    objects = pca | {"pca_means": np.array([None] * 128)}
    np.savez(pca_case("pickle", "ValueError while reading"), **objects)
    run_tensorflow(REFUSED, *[part for pair in cases.items() for part in pair])
