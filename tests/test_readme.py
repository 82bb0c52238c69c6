"""README.md and README_CN.md: the same content in both, and what they name is there.

Figures are not compared: a table may be filled in one language first.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from itertools import product
from pathlib import Path
from urllib.parse import unquote

import pytest

from mspose.commands import COMMANDS
from mspose.config.describe import all_keys
from tests.conftest import ROOT

# README → the line below its title that leads to the other language.
LANGUAGES = {"README.md": "English | [简体中文](README_CN.md)", "README_CN.md": "[English](README.md) | 简体中文"}
FOLDERS = ("configs", "docs", "examples", "scripts", "src", "tests")
FENCE = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
SPAN = re.compile(r"`([^`]+)`")

both = pytest.mark.parametrize("name", LANGUAGES)


@cache
def readme(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def without_language(name: str) -> str:
    """The text but for the line that differs on purpose."""
    return readme(name).replace(LANGUAGES[name], "", 1)


# ---- parts of a text


def blocks(text: str) -> list[str]:
    return FENCE.findall(text)


def prose(text: str) -> str:
    return FENCE.sub("", text)


def headings(text: str) -> list[tuple[int, str]]:
    """Level and title of every heading."""
    return [(len(marks), title) for marks, title in re.findall(r"^(#+) +(.+?) *$", prose(text), flags=re.MULTILINE)]


def spans(text: str) -> list[str]:
    """What stands in backticks; where it goes on in the next line, the line break becomes a space."""
    return [" ".join(span.split()) for span in SPAN.findall(prose(text))]


def sections(text: str) -> list[str]:
    """The prose before the first heading, then that below each."""
    return re.split(r"^#+ .*$", prose(text), flags=re.MULTILINE)


def tables(text: str) -> list[list[int]]:
    """Of every table the number of cells in each row."""
    found = re.findall(r"(?:^\|.*\n?)+", prose(text), flags=re.MULTILINE)
    return [[row.strip().strip("|").count("|") + 1 for row in table.splitlines()] for table in found]


def links(text: str, images: bool = False) -> list[str]:
    """Targets of the links, or of the images."""
    plain = SPAN.sub("", prose(text))
    return re.findall(r"!\[[^]]*\]\(([^)\s]+)\)" if images else r"(?<!!)\[[^]]*\]\(([^)\s]+)\)", plain)


def addresses(text: str) -> list[str]:
    """Web addresses, linked or bare; a bare one goes on to the next space, but for punctuation at its end."""
    return [url.rstrip(".,:;!?") for url in re.findall(r"https?://[^\s<>)]+", SPAN.sub("", prose(text)))]


def anchors(text: str) -> list[str]:
    return [unquote(target[1:]) for target in links(text) if target.startswith("#")]


def slugs(text: str) -> list[str]:
    """GitHub's anchor of every heading.

    Letters of any script stay, in lower case; punctuation (full-width too) goes, spaces become hyphens, and a repeated
    title is numbered.
    """
    found: list[str] = []
    for _, title in headings(text):
        title = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", title)
        plain = re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
        repeats = sum(re.fullmatch(re.escape(plain) + r"(-\d+)?", slug) is not None for slug in found)
        found.append(f"{plain}-{repeats}" if repeats else plain)
    return found


# ---- what a text names


def expanded(pattern: str) -> list[str]:
    """A name with {a,b} in it → one name for each choice."""
    parts = [part.split(",") for part in re.split(r"\{([^}]*)\}", pattern)]
    return ["".join(choice) for choice in product(*parts)]


def code(text: str) -> Iterator[list[str]]:
    """Code that belongs together: each block, and the spans of each paragraph, list item and table row."""
    for block in blocks(text):
        yield [block]
    for paragraph in re.split(r"\n\s*\n|\n(?=[|-])", prose(text)):
        yield spans(paragraph)


def is_placeholder(path: str) -> bool:
    """Whether the reader puts a name of theirs into the path: a component but for its ending is in capitals only."""
    return any(re.fullmatch(r"[A-Z][A-Z_]*", part.split(".")[0]) for part in path.split("/"))


def named_paths(text: str) -> Iterator[tuple[str, list[str]]]:
    """Each file or folder of the repository that code names, and where it may be.

    A path is one of the repository if it starts with one of its folders. Left out are paths with a placeholder, and
    files that the command writes. A name alone is a script (.py, .sh) or a list of requirements: in the root, in
    scripts/ (.sh), or in the folder of the path named before it in the same row or paragraph.
    """
    path = rf"(?<![\w./-])(?<!--output )(?<!output=)(?<!--dst )(?:{'|'.join(FOLDERS)})/[\w./{{}},*-]*"
    alone = r"(?<![\w./*-])(?:[\w-]+\.(?:py|sh)|requirements[\w-]*\.txt)(?![\w./])"
    for group in code(text):
        folder = ""
        for item in group:
            for match in re.finditer(f"({path})|({alone})", item.replace("/path/to/", "")):
                token = match[0].rstrip(".,")
                if is_placeholder(token):
                    continue
                if match[2]:
                    yield token, [token, f"scripts/{token}"] if token.endswith(".sh") else [token, f"{folder}{token}"]
                    continue
                folder = token[: token.rindex("/") + 1]
                yield from ((name, [name]) for name in expanded(token))


def missing_paths(text: str) -> list[str]:
    return [token for token, places in named_paths(text) if not any(any(ROOT.glob(place)) for place in places)]


def missing_commands(text: str) -> list[str]:
    """What the program `mspose` is given, but does not know."""
    named = [
        name
        for group in code(text)
        for item in group
        for name in re.findall(r"(?<!from )(?<![\w/.])mspose ([a-z][\w-]+)", item)
    ]
    return [name for name in named if name not in COMMANDS]


def named_recipes(text: str) -> list[str]:
    """Recipes named without folder and ending, as the tables do: a network, an underscore, what sets it apart."""
    pattern = (
        r"(?:simplepose|fastpose|hrnet|rtmpose|vitpose|openpose|simple|fast|simple_baselines|pose_resnet)_[\w{},]+"
    )
    return [name for span in spans(text) if re.fullmatch(pattern, span) for name in expanded(span)]


def missing_recipes(text: str) -> list[str]:
    there = {path.stem for folder in ("configs", "configs/pretrained") for path in (ROOT / folder).glob("*.yaml")}
    return [name for name in named_recipes(text) if name not in there]


def missing_links(text: str, folder: Path = ROOT) -> list[str]:
    """Links to files that are not there, of a text in a folder."""
    local = [target for target in [*links(text), *links(text, images=True)] if not re.match(r"#|https?:", target)]
    return [target for target in local if not (folder / unquote(target.split("#")[0])).exists()]


def missing_anchors(text: str) -> list[str]:
    return [anchor for anchor in anchors(text) if anchor not in slugs(text)]


def named_keys(text: str) -> list[str]:
    """Each section.key; files that are called like a section (`train.py`, `eval.log`, `data.yaml`) are none."""
    names = "|".join(sorted({key.split(".")[0] for key in all_keys()}))
    return re.findall(rf"(?<![\w./-])(?:{names})\.(?!(?:py|log|yaml)\b)[a-zA-Z]\w*", text)


def missing_keys(text: str) -> list[str]:
    return [key for key in named_keys(text) if key not in all_keys()]


# ---- the same content in both languages


def test_headings_have_the_same_levels() -> None:
    english, chinese = ([level for level, _ in headings(readme(name))] for name in LANGUAGES)
    assert chinese == english


def test_code_blocks_are_the_same() -> None:
    english, chinese = (blocks(readme(name)) for name in LANGUAGES)
    assert chinese == english


def test_tables_have_the_same_rows() -> None:
    english, chinese = (tables(readme(name)) for name in LANGUAGES)
    assert chinese == english


def test_images_are_the_same() -> None:
    english, chinese = (links(readme(name), images=True) for name in LANGUAGES)
    assert chinese == english


def test_external_links_are_the_same() -> None:
    """Sorted, since the order of words in a sentence differs.

    An address that stands bare must end before full-width punctuation, which would become part of it.
    """
    english, chinese = (sorted(addresses(readme(name))) for name in LANGUAGES)
    assert chinese == english


def test_links_into_the_repository_are_the_same() -> None:
    english, chinese = (
        sorted(target for target in links(without_language(name)) if not re.match(r"#|https?:", target))
        for name in LANGUAGES
    )
    assert chinese == english


def test_anchors_lead_to_the_same_sections() -> None:
    english, chinese = (
        sorted(
            slugs(readme(name)).index(anchor) if anchor in slugs(readme(name)) else -1
            for anchor in anchors(readme(name))
        )
        for name in LANGUAGES
    )
    assert chinese == english


def test_identifiers_of_each_section_are_the_same() -> None:
    english, chinese = ([set(spans(section)) for section in sections(readme(name))] for name in LANGUAGES)
    differences = [sorted(a ^ b) for a, b in zip(english, chinese)]
    assert [difference for difference in differences if difference] == []


@both
def test_other_language_is_linked_below_the_title(name: str) -> None:
    assert readme(name).splitlines()[1:4] == ["", LANGUAGES[name], ""]


# ---- what they name is there


@both
def test_named_paths_exist(name: str) -> None:
    assert missing_paths(readme(name)) == []


@both
def test_linked_files_exist(name: str) -> None:
    assert missing_links(readme(name)) == []


@both
def test_named_modules_exist(name: str) -> None:
    assert missing_commands(readme(name)) == []


@both
def test_named_recipes_exist(name: str) -> None:
    assert missing_recipes(readme(name)) == []


@both
def test_anchors_resolve(name: str) -> None:
    assert missing_anchors(readme(name)) == []


@both
def test_named_keys_exist(name: str) -> None:
    assert missing_keys(readme(name)) == []


# ---- the rules themselves


def test_paths_are_found_in_code_only() -> None:
    text = (
        "scripts/prose.py\n\n```bash\npython lost.py --config configs/lost_{a,b}.yaml  # also lost.sh\n```\n"
        "| `src/mspose/data/coco.py` | `topdown.py`, `gone.py` |\n`resnet.py`, `/path/to/configs/lost.yaml`\n\n"
        "`x=src/lost/`, `docs/*.none`\n"
    )
    assert missing_paths(text) == [
        "lost.py",
        "configs/lost_a.yaml",
        "configs/lost_b.yaml",
        "lost.sh",
        "gone.py",
        "resnet.py",
        "configs/lost.yaml",
        "src/lost/",
        "docs/*.none",
    ]


def test_files_of_the_user_are_left_out() -> None:
    text = (
        "`configs/pretrained/RECIPE.yaml` `scripts/MY_OWN.sh` `data/coco/x.json` `outputs/run.py` `/home/docs/a.md`"
        " `x --output configs/mine.yaml` `output=docs/x` `x --dst src/w.ckpt`"
    )
    assert list(named_paths(text)) == []


def test_modules_and_recipes_are_found() -> None:
    text = "`mspose lost x` `python -m mspose gone` `mspose detect` `fastpose_r{50,51}_256x192` `fast_x.pth`"
    assert missing_commands(text) == ["lost", "gone"]
    assert missing_recipes(text) == ["fastpose_r51_256x192"]


def test_keys_are_told_from_files_and_modules() -> None:
    text = "python train.py train.lost=1 `data.root` `mspose.data.lost` docs/demo.jpg `eval.log` model.name={eval.lost}"
    assert named_keys(text) == ["train.lost", "data.root", "model.name", "eval.lost"]
    assert missing_keys(text) == ["train.lost", "eval.lost"]


def test_anchors_follow_githubs_rules() -> None:
    text = "# A `b_c` (d), e-f\n## 多卡训练、后台运行与 ModelArts\n## 训练\n## 训练\n```\n# none\n```\n"
    assert slugs(text) == ["a-b_c-d-e-f", "多卡训练后台运行与-modelarts", "训练", "训练-1"]
    assert missing_anchors(text + "[x](#训练-1) [y](#%E8%AE%AD%E7%BB%83) [z](#训-练)") == ["训-练"]
