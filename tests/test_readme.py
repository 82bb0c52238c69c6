"""README and the pages of docs: the same content in both languages, and what they name is there.

Figures are not compared: a table may be filled in one language first.
"""

from __future__ import annotations

import os
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

# English page → the same in Chinese: README, and every page of docs that has one in docs/zh.
PAIRS = {"README.md": "README_CN.md"} | {
    f"docs/{page.name}": f"docs/zh/{page.name}" for page in sorted((ROOT / "docs" / "zh").glob("*.md"))
}
PAGES = sorted(str(page.relative_to(ROOT)) for page in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
FOLDERS = ("configs", "docs", "examples", "scripts", "src", "tests")
FENCE = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
# Pages that name what other programs have, and what earlier versions had.
OTHER_PROGRAMS = ("docs/commands.md", "docs/keys.md", "CHANGELOG.md")
# Scripts of others that a page names by name alone.
OTHERS_SCRIPTS = ("set_env.sh",)  # CANN's
SPAN = re.compile(r"`([^`]+)`")

each = pytest.mark.parametrize("name", PAGES)
pair = pytest.mark.parametrize(("english", "chinese"), PAIRS.items())


@cache
def page(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def other_language(name: str) -> str:
    """The line below the title that leads to the other language."""
    if name in PAIRS:
        return f"English | [简体中文]({os.path.relpath(PAIRS[name], Path(name).parent)})"
    (english,) = [english for english, chinese in PAIRS.items() if chinese == name]
    return f"[English]({os.path.relpath(english, Path(name).parent)}) | 简体中文"


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
    """Whether the reader puts a name of theirs into the path: a component is in capitals, or mine."""
    return any(re.fullmatch(r"[A-Z][A-Z_]*|mine", part.split(".")[0]) for part in path.split("/"))


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
                if is_placeholder(token) or token in OTHERS_SCRIPTS:
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


def missing_anchors(text: str, folder: Path = ROOT) -> list[str]:
    """Anchors, of the text itself and of the pages it links to, that no heading there has."""
    missing = [anchor for anchor in anchors(text) if anchor not in slugs(text)]
    for target in links(text):
        file, _, anchor = unquote(target).partition("#")
        if anchor and file.endswith(".md") and not re.match("https?:", file) and (folder / file).is_file():
            missing += [target] * (anchor not in slugs((folder / file).read_text(encoding="utf-8")))
    return missing


def named_keys(text: str) -> list[str]:
    """Each section.key; files called like a section (`train.py`, `eval.log`, `data.yaml`) and calls are none."""
    names = "|".join(sorted({key.split(".")[0] for key in all_keys()}))
    return re.findall(rf"(?<![\w./-])(?:{names})\.(?!(?:py|log|yaml)\b)[a-zA-Z]\w*\b(?!\(|\.log\b)", text)


def missing_keys(text: str) -> list[str]:
    return [key for key in named_keys(text) if key not in all_keys()]


# ---- the same content in both languages


def test_every_chinese_page_has_an_english_one() -> None:
    assert [name for name in PAIRS if not (ROOT / name).is_file()] == []


@pair
def test_headings_have_the_same_levels(english: str, chinese: str) -> None:
    here, there = ([level for level, _ in headings(page(name))] for name in (english, chinese))
    assert there == here


@pair
def test_code_blocks_are_the_same(english: str, chinese: str) -> None:
    assert blocks(page(chinese)) == blocks(page(english))


@pair
def test_tables_have_the_same_rows(english: str, chinese: str) -> None:
    assert tables(page(chinese)) == tables(page(english))


@pair
def test_external_links_are_the_same(english: str, chinese: str) -> None:
    """Sorted, since the order of words in a sentence differs.

    An address that stands bare must end before full-width punctuation, which would become part of it.
    """
    assert sorted(addresses(page(chinese))) == sorted(addresses(page(english)))


def targets(name: str, images: bool) -> list[tuple[str, int]]:
    """What a page links to in the repository: file, in English if it is a page, and number of the heading."""
    found = []
    for target in links(page(name).replace(other_language(name), "", 1), images):
        if re.match(r"https?:", target):
            continue
        file, _, anchor = unquote(target).partition("#")
        path = os.path.normpath(Path(name).parent / file) if file else name
        number = slugs(page(path)).index(anchor) if anchor and anchor in slugs(page(path)) else -1
        in_english = {there: here for here, there in PAIRS.items()}
        assert name in PAIRS or path not in PAIRS, f"{name} leads to {path}, which there is in Chinese"
        found.append((in_english.get(path, path), number))
    return sorted(found)


@pair
@pytest.mark.parametrize("images", [False, True])
def test_links_into_the_repository_are_the_same(english: str, chinese: str, images: bool) -> None:
    assert targets(chinese, images) == targets(english, images)


@pair
def test_identifiers_of_each_section_are_the_same(english: str, chinese: str) -> None:
    here, there = ([set(spans(section)) for section in sections(page(name))] for name in (english, chinese))
    differences = [sorted(a ^ b) for a, b in zip(here, there)]
    assert [difference for difference in differences if difference] == []


@pytest.mark.parametrize("name", [*PAIRS, *PAIRS.values()])
def test_other_language_is_linked_below_the_title(name: str) -> None:
    assert page(name).splitlines()[1:4] == ["", other_language(name), ""]


# ---- what they name is there


@each
def test_named_paths_exist(name: str) -> None:
    if name not in OTHER_PROGRAMS:
        assert missing_paths(page(name)) == []


@each
def test_linked_files_exist(name: str) -> None:
    assert missing_links(page(name), (ROOT / name).parent) == []


@each
def test_named_commands_exist(name: str) -> None:
    assert missing_commands(page(name)) == []


@each
def test_named_recipes_exist(name: str) -> None:
    if name not in OTHER_PROGRAMS:
        assert missing_recipes(page(name)) == []


@each
def test_anchors_resolve(name: str) -> None:
    assert missing_anchors(page(name), (ROOT / name).parent) == []


@each
def test_named_keys_exist(name: str) -> None:
    if name not in OTHER_PROGRAMS:
        assert missing_keys(page(name)) == []


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
