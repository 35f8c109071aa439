"""What a file with weights is, by its content and without loading PyTorch: its format, its number of channels."""

from __future__ import annotations

import zipfile
from pathlib import Path

from safetensors import SafetensorError, safe_open

from crayon.utils.errors import CheckpointError

READ = ("safetensors", "torch")
"""The formats that are read: safetensors, and what torch.save writes (a ZIP archive; before PyTorch 1.6, a pickle)."""

SAVE = "save its state_dict: torch.save(model.state_dict(), ...)"

NOT_READ = {
    "empty": "is empty; copy or download it again.",
    "Git LFS": "is a Git LFS pointer, not the weights; get the file itself with `git lfs pull`.",
    "web page": "is a web page (HTML), not weights; download the file itself, which has another address.",
    "TorchScript": f"is a TorchScript program, and reading it would run it; load the Python model instead, and {SAVE}.",
    "ONNX": f"is an ONNX graph, without the names of PyTorch's modules; load the PyTorch model instead, and {SAVE}.",
    "HDF5": "is an HDF5 file (Keras, TensorFlow), whose weights are not PyTorch's; convert the model to PyTorch, and "
    f"{SAVE}.",
    "Keras": f"is a Keras model, whose weights are not PyTorch's; convert the model to PyTorch, and {SAVE}.",
    "TensorFlow Lite": f"is a TensorFlow Lite model, which is not read; convert the model to PyTorch, and {SAVE}.",
    "NumPy": "is a NumPy file, which is not read; save a dict of tensors: torch.save({name: torch.from_numpy(array)}, "
    "...), with the names of the network's state_dict.",
    "archive": "is an archive of other files, not weights; unpack it, and give the file with the weights.",
    "text": "is a text file, not weights; give the file that torch.save or safetensors wrote.",
    "unknown": "is not a checkpoint: neither safetensors nor a file that torch.save wrote.",
}
"""Format that is not read -> message about such a file (without its name), with the remedy."""

_STARTS = {
    b"version https://git-lfs": "Git LFS",
    b"\x89HDF\r\n\x1a\n": "HDF5",
    b"\x93NUMPY": "NumPy",
    b"\x1f\x8b": "archive",
    b"BZh": "archive",
    b"\xfd7zXZ\x00": "archive",
    b"7z\xbc\xaf\x27\x1c": "archive",
    b"Rar!": "archive",
    b"\x28\xb5\x2f\xfd": "archive",
}
"""First bytes of a file -> its format."""


def format_of(path: str | Path) -> str:
    """Recognise a file's format: one of `READ` or a key of `NOT_READ`.

    Raises:
        CheckpointError: there is no such file, or it is a folder, or it cannot be opened.
    """
    path = Path(path)
    if path.is_dir():
        raise CheckpointError(f"{path}: is a folder, not a file with weights; give the file with the weights.")
    if path.exists() and not path.is_file():  # opening a pipe would wait forever
        raise CheckpointError(f"{path}: is no regular file; give the file that torch.save or safetensors wrote.")
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(1024)
    except FileNotFoundError:
        raise CheckpointError(f"{path}: there is no such file.") from None
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror or error}).") from error
    if not start:
        return "empty"
    for first, name in _STARTS.items():
        if start.startswith(first):
            return name
    if start.startswith(b"PK"):
        return _zip_format(path)
    length = int.from_bytes(start[:8], "little")
    if start[8:9] == b"{" and (length < 100_000_000 or length <= size):
        return "safetensors"
    if start[257:262] == b"ustar":
        return "archive"
    if start[4:8] == b"TFL3":
        return "TensorFlow Lite"
    if start[0] == 0x80 and start[1:2] <= b"\x05":  # the pickle opcode PROTO
        return "torch"
    if len(start) > 2 and start[0] == 8 and 0 < start[1] < 32 and start[2] in b"\x12\x1a\x22\x28\x32\x3a\x42":
        return "ONNX"  # a protobuf message whose first field is a small number, the version of the format
    text = start.decode("utf-8", "replace").lstrip("\ufeff \t\r\n").lower()
    if text.startswith(("<!doctype", "<html", "<head", "<?xml")):
        return "web page"
    return "text" if not any(byte < 9 or 13 < byte < 32 for byte in start) and "\ufffd" not in text else "unknown"


def _zip_format(path: Path) -> str:
    """The format of a ZIP archive; `torch` for one that is cut off, so that torch.load reports this."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):  # ValueError: a damaged name
        return "torch"
    if any(name.endswith("constants.pkl") for name in names):
        return "TorchScript"
    if any(name.endswith("data.pkl") for name in names):
        return "torch"
    if any(name.endswith("model.weights.h5") for name in names):
        return "Keras"
    return "NumPy" if names and all(name.endswith(".npy") for name in names) else "archive"


def channels_of(checkpoint: str) -> int:
    """Read the number of channels of the last convolutional map from a checkpoint, without loading its weights.

    Raises:
        CheckpointError: the file is missing, or is not a checkpoint of a classifier.
    """
    if not Path(checkpoint).exists():
        raise CheckpointError(f"{checkpoint}: there is no such file; make it with `snakemake --cores 2 {checkpoint}`.")
    try:
        with safe_open(checkpoint, framework="numpy") as file:
            channels: int = file.get_slice("keep").get_shape()[0]
            return channels
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{checkpoint}: is not a checkpoint of a classifier ({error}); delete it.") from error
