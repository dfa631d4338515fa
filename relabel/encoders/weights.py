"""From an encoder's name to a weights file, without loading anything.

Imports neither torch nor open_clip: `relabel.encoders.open_clip`, the one module that does, passes
open_clip in. Everything that open_clip would only warn about, or guess, stops here.
"""

from __future__ import annotations

import difflib
import importlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from relabel.encoders.remote_code import check_texts_can_be_read
from relabel.lfs import LFS_CURE, is_lfs_pointer
from schemas.errors import EncoderError

Entry = dict[str, Any]  # how open_clip registers a checkpoint: url, hf_hub, mean, quick_gelu, ...

LOCAL_DIR = "local-dir:"
VOCABULARY_FILE = "bpe_vocab.txt.gz"
CONFIG_FILE = "open_clip_config.json"
# open_clip's own order of preference; any other name is taken only if it is the only file.
_WEIGHTS_FILES = (
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.safetensors",
    "open_clip_pytorch_model.bin",
)
_WEIGHTS_SUFFIXES = (".safetensors", ".bin", ".pth", ".pt")
_DIRECTORY_SUFFIXES = (".safetensors", ".bin", ".pth")  # the ones open_clip looks for
_PREPROCESS_KEYS = ("mean", "std", "interpolation", "resize_mode", "fill_color")
# Families of settings by name; what they leave out is open_clip's default, as `shortest` is.
PREPROCESSING: Final[dict[str, dict[str, Any]]] = {
    "openai": {
        "mean": [0.48145466, 0.4578275, 0.40821073],
        "std": [0.26862954, 0.26130258, 0.27577711],
    },
    "imagenet": {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]},
    "siglip": {"mean": [0.5] * 3, "std": [0.5] * 3, "resize_mode": "squash"},
}
_HUB_TIMEOUT_S = 10.0
_FORMS = "NAME:PRETRAINED_TAG, NAME:/path/to/checkpoint or local-dir:/path"


@dataclass(frozen=True)
class EncoderSource:
    """A model that can be built: everything that an encoder's name stands for."""

    name: str  # as the user gave it
    slug: str  # the name as part of a file name
    model_name: str  # what open_clip calls it: a registered architecture or local-dir:PATH
    config: dict[str, Any]  # architecture, as open_clip reads it
    checkpoint: Path
    preprocess: dict[str, Any]  # settings that override those open_clip would take
    vocabulary: Path | None  # BPE file of its own

    @property
    def is_directory(self) -> bool:
        """Whether open_clip reads architecture and weights from a directory."""
        return self.model_name.startswith(LOCAL_DIR)


def find_source(
    name: str, clip: Any, preprocess: str | Mapping[str, Any] | None = None
) -> EncoderSource:
    """Resolve a name to an architecture and a weights file.

    Args:
        name: NAME:PRETRAINED_TAG, NAME:/path/to/checkpoint or local-dir:/path.
        clip: The open_clip module.
        preprocess: Of NAME:/path/to/checkpoint only: whose settings it takes, a tag of NAME or
            one of `PREPROCESSING`, or the settings themselves; None: those on which the
            registered checkpoints of NAME agree.

    Returns:
        What the name stands for. A registered checkpoint is downloaded if it is not in
        the local cache.

    Raises:
        EncoderError: If any part of the name is unknown or missing, or a registered
            checkpoint was trained with another activation than NAME computes, or the
            preprocessing is unknown, or is given where the name decides it.
    """
    if name.startswith(LOCAL_DIR):
        _check_not_given(name, preprocess, "preprocess_cfg in its open_clip_config.json")
        return _find_directory(name, Path(name.removeprefix(LOCAL_DIR)).expanduser())
    architecture, _, weights = name.partition(":")
    architecture = architecture.replace("/", "-")  # open_clip takes ViT-B/32 as well
    if architecture not in clip.list_models():
        raise EncoderError(_unknown_architecture(name, architecture, clip.list_models()))
    config = clip.get_model_config(architecture)
    check_texts_can_be_read(name, config)
    known = clip.list_pretrained_tags_by_model(architecture)
    entries = {tag: clip.get_pretrained_cfg(architecture, tag) for tag in known}
    if weights.lower().replace("-", "_") in entries:
        _check_not_given(name, preprocess, "open_clip's entry of that tag")
        return _find_registered(name, architecture, config, entries, clip)
    path = Path(weights).expanduser()
    if not weights or not path.is_file():
        raise EncoderError(_unknown_weights(name, architecture, weights, known))
    return _find_checkpoint(name, architecture, path, config, entries, preprocess)


def brief(error: BaseException, limit: int = 400) -> str:
    """An error on one line of bearable length; state-dict errors list every tensor."""
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return text if len(text) <= limit else f"{text[:limit]}…"


# --- NAME:PRETRAINED_TAG --------------------------------------------------------------------


def _find_registered(
    name: str, architecture: str, config: dict[str, Any], entries: dict[str, Entry], clip: Any
) -> EncoderSource:
    """A checkpoint that open_clip knows by a tag."""
    weights = name.partition(":")[2]
    tag = weights.lower().replace("-", "_")
    _check_activation(name, architecture, tag, config, entries[tag])
    return EncoderSource(
        name=name,
        slug=_slug(f"{architecture}-{weights}"),
        model_name=architecture,
        config=config,
        checkpoint=_fetch(name, architecture, entries[tag], clip),
        preprocess=_settings(entries[tag]),
        vocabulary=None,
    )


def _check_activation(
    name: str, architecture: str, tag: str, config: dict[str, Any], entry: Entry
) -> None:
    """Refuse weights trained with another activation; open_clip warns, after the download."""
    trained, built = entry.get("quick_gelu", False), config.get("quick_gelu", False)
    if trained == built:
        return
    base = architecture.removesuffix("-quickgelu")
    right = f"{base}-quickgelu" if trained else base
    raise EncoderError(
        f"encoder {name}: QuickGELU mismatch: {tag} was trained with quick_gelu={trained}, "
        f"{architecture} computes with quick_gelu={built}, so every embedding would be wrong; "
        f"use {right}:{name.partition(':')[2]}"
    )


def _fetch(name: str, architecture: str, entry: Entry, clip: Any) -> Path:
    """A registered checkpoint, from the hub's cache or the network."""
    repository = entry.get("hf_hub", "").rpartition("/")[0]
    try:
        cached = _cached(repository, entry) if repository else None
        if cached is None and repository:
            # One plain request first: the hub's own client retries for most of a minute.
            hub = importlib.import_module("huggingface_hub")
            hub.HfApi().model_info(repository, timeout=_HUB_TIMEOUT_S)
        return Path(cached or clip.download_pretrained(entry))
    except Exception as error:  # whatever the network stack raises, the cure is the same
        raise EncoderError(
            f"encoder {name}: the weights are not in the local cache and could not be downloaded "
            f"({brief(error)}); once downloaded they are kept; without a network, copy the "
            f"checkpoint here and name it: {architecture}:/path/to/checkpoint.safetensors"
        ) from error


def _cached(repository: str, entry: Entry) -> str | None:
    """Path of a registered checkpoint in the hub's cache, safetensors first, or None."""
    hub = importlib.import_module("huggingface_hub")
    filename = entry["hf_hub"].rpartition("/")[2]
    stem = filename.rpartition(".")[0]
    names = (f"{stem}.safetensors", filename) if filename else _WEIGHTS_FILES[::2]
    found = (hub.try_to_load_from_cache(repository, candidate) for candidate in names)
    return next((path for path in found if isinstance(path, str)), None)


# --- NAME:/path/to/checkpoint ---------------------------------------------------------------


def _find_checkpoint(
    name: str,
    architecture: str,
    path: Path,
    config: dict[str, Any],
    entries: dict[str, Entry],
    preprocess: str | Mapping[str, Any] | None,
) -> EncoderSource:
    """A checkpoint file of a registered architecture."""
    if path.suffix not in _WEIGHTS_SUFFIXES:
        raise EncoderError(
            f"encoder {name}: expected a checkpoint ending in {', '.join(_WEIGHTS_SUFFIXES)}, "
            f"got {path.name}"
        )
    _refuse_pointers(name, path)
    tag = next((tag for tag, entry in entries.items() if _is_file_of(path, entry)), None)
    if tag is not None:
        _check_activation(name, architecture, tag, config, entries[tag])
    alike = entries if tag is None else {tag: entries[tag]}
    return EncoderSource(
        name=name,
        slug=_slug(f"{architecture}-{path.stem}"),
        model_name=architecture,
        config=config,
        checkpoint=path,
        preprocess=_preprocess(name, preprocess, alike, entries),
        vocabulary=None,
    )


def _is_file_of(path: Path, entry: Entry) -> bool:
    """Whether a file is, by its name or its place in the hub's cache, a registered one."""
    repository = entry.get("hf_hub", "").rpartition("/")[0].replace("/", "--")
    in_cache = bool(repository) and f"models--{repository}" in path.absolute().parts
    return in_cache or path.name == entry.get("url", "").rpartition("/")[2]


def _preprocess(
    name: str,
    asked: str | Mapping[str, Any] | None,
    alike: dict[str, Entry],
    entries: dict[str, Entry],
) -> dict[str, Any]:
    """How a checkpoint file wants its frames: as asked for, else as those alike agree.

    open_clip gives every file its default, which is wrong for whole families (SigLIP, CLIPA,
    MobileCLIP): all their checkpoints were trained with another.
    """
    if isinstance(asked, str):
        known = {**PREPROCESSING, **{tag: _settings(entry) for tag, entry in entries.items()}}
        if asked not in known:
            raise EncoderError(
                f"encoder {name}: --preprocess {asked}: expected {', '.join(PREPROCESSING)} or a "
                f"tag of the architecture ({', '.join(entries) or 'it has none'})"
            )
        return known[asked]
    if asked is not None:
        return _settings(asked)
    groups: dict[str, list[str]] = {}
    for tag, entry in alike.items():
        groups.setdefault(json.dumps(_settings(entry), sort_keys=True), []).append(tag)
    if len(groups) > 1:
        listed = "\n  ".join(f"{', '.join(tags)}: {group}" for group, tags in groups.items())
        raise EncoderError(
            f"encoder {name}: the registered weights of this architecture were trained with "
            f"different preprocessing:\n  {listed}\nsay which one this file was trained with: "
            f"--preprocess TAG, or one of {', '.join(PREPROCESSING)}"
        )
    return json.loads(next(iter(groups), "{}"))  # type: ignore[no-any-return]


def _settings(entry: Mapping[str, Any]) -> dict[str, Any]:
    """The preprocessing of a registered checkpoint."""
    return {key: entry[key] for key in _PREPROCESS_KEYS if entry.get(key) is not None}


def _check_not_given(name: str, preprocess: object, decided: str) -> None:
    # Settings, other than a name, are those that were stored with this very encoder.
    if isinstance(preprocess, str):
        raise EncoderError(
            f"encoder {name}: --preprocess {preprocess} is for NAME:/path/to/checkpoint; here "
            f"{decided} decides"
        )


# --- local-dir:/path ------------------------------------------------------------------------


def _find_directory(name: str, directory: Path) -> EncoderSource:
    """A directory with its own architecture, weights and, perhaps, vocabulary."""
    config = _read_config(name, directory)
    check_texts_can_be_read(name, config)
    _refuse_pointers(name, *sorted(path for path in directory.iterdir() if path.is_file()))
    return EncoderSource(
        name=name,
        slug=_slug(directory.resolve().name),
        model_name=f"{LOCAL_DIR}{directory}",
        config=config,
        checkpoint=_weights_in(name, directory),
        preprocess={},  # open_clip reads preprocess_cfg from the same file
        vocabulary=_vocabulary_in(directory, config["text_cfg"]),
    )


def _read_config(name: str, directory: Path) -> dict[str, Any]:
    """The architecture described in a directory."""
    path = directory / CONFIG_FILE
    if not path.is_file():
        got = f"no {CONFIG_FILE} in it" if directory.is_dir() else "no such directory"
        raise EncoderError(
            f"encoder {name}: expected a directory with {CONFIG_FILE} and weights, got {got}"
        )
    _refuse_pointers(name, path)
    try:
        config: dict[str, Any] = json.loads(path.read_text("utf-8"))["model_cfg"]
        missing = {"embed_dim", "vision_cfg", "text_cfg"} - set(config)
    except (ValueError, KeyError, TypeError) as error:
        raise EncoderError(f"encoder {name}: {path} has no model_cfg ({brief(error)})") from error
    if missing:
        raise EncoderError(f"encoder {name}: model_cfg of {path} lacks {sorted(missing)}")
    return config


def _weights_in(name: str, directory: Path) -> Path:
    """The one weights file of a directory; open_clip would go on without, or guess."""
    found = sorted(path for path in directory.iterdir() if path.suffix in _DIRECTORY_SUFFIXES)
    for preferred in _WEIGHTS_FILES:
        if directory / preferred in found:
            return directory / preferred
    if len(found) == 1:
        return found[0]
    got = f"several: {[path.name for path in found]}" if found else "no weights"
    raise EncoderError(
        f"encoder {name}: expected one weights file in {directory}, got {got}; "
        f"put the weights at {directory / _WEIGHTS_FILES[0]}"
    )


def _vocabulary_in(directory: Path, text_config: dict[str, Any]) -> Path | None:
    """The directory's own BPE file; open_clip would look for it in the working directory."""
    if text_config.get("hf_tokenizer_name"):
        return None
    configured = (text_config.get("tokenizer_kwargs") or {}).get("bpe_path")
    if configured is not None:
        return directory / str(configured)
    path = directory / VOCABULARY_FILE
    return path if path.is_file() else None


def _refuse_pointers(name: str, *paths: Path) -> None:
    """Stops at files that were never fetched; open_clip would call them damaged."""
    for path in paths:
        if is_lfs_pointer(path):
            raise EncoderError(f"encoder {name}: {path}: {LFS_CURE}")


# --- words ----------------------------------------------------------------------------------


def _unknown_architecture(name: str, architecture: str, known: list[str]) -> str:
    """Error text for a name whose first part open_clip does not have."""
    near = difflib.get_close_matches(architecture, known, n=5, cutoff=0.5)
    hint = f"; near: {', '.join(near)}" if near else ""
    return f"encoder {name!r}: expected {_FORMS}, got unknown NAME {architecture!r}{hint}"


def _unknown_weights(name: str, architecture: str, weights: str, known: list[str]) -> str:
    """Error text for a second part that is neither a tag nor a file."""
    near = difflib.get_close_matches(weights, known, n=5, cutoff=0.5) or known
    tags = f"tags of {architecture}: {', '.join(near)}" if near else f"{architecture} has no tags"
    looked = f"no tag and no file {weights!r}" if weights else "nothing after NAME"
    return (
        f"encoder {name!r}: expected {architecture}:TAG or {architecture}:/path/to/checkpoint, "
        f"got {looked}; {tags}"
    )


def _slug(text: str) -> str:
    """A name as part of a file name."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-.") or "encoder"
