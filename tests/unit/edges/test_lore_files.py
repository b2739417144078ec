"""Folders of documents: which files count, and what is refused before anything is said."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from bus.errors import BadSettings
from handlers.time_manager.calendar import load
from tests.duskmarket import FOLDER
from worldbus.edges.lore import BadDocuments, Document, convert, documents
from worldbus.edges.lore.convert import available, to_markdown
from worldbus.edges.lore.files import MAX_CONVERTED, MAX_MARKDOWN

CALENDAR = load(FOLDER / "calendar.toml")


def read(path: Path) -> list[Document]:
    return documents(path, CALENDAR)


def problems(path: Path) -> list[tuple[str, str]]:
    """(file, code) of everything that is wrong."""
    with pytest.raises(BadDocuments) as found:
        read(path)
    assert "nothing was ingested" in str(found.value)
    for problem in found.value.problems:
        assert problem.file in str(found.value)
        assert problem.reason in str(found.value)
    return [(problem.file, problem.code) for problem in found.value.problems]


def test_documents_come_in_the_order_of_their_paths(tmp_path: Path) -> None:
    for name in ("b.md", "a.markdown", "places/quay.MD", "notes.txt", ".hidden.md", ".git/x.md", "picture.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("Stones.")

    assert [one.path for one in read(tmp_path)] == ["a.markdown", "b.md", "places/quay.MD"]
    assert [one.slug for one in read(tmp_path)] == ["a", "b", "places-quay"]
    assert [one.path for one in read(tmp_path / "places" / "quay.MD")] == ["quay.MD"]


def test_every_fault_of_every_document_is_named_at_once(tmp_path: Path) -> None:
    (tmp_path / "binary.md").write_bytes(b"\x7fELF\x02\x01\x01\0\0\0")
    (tmp_path / "empty.md").write_bytes(b"")
    (tmp_path / "front.md").write_text("---\naudience: [x\n---\nStones.")
    (tmp_path / "good.md").write_text("Stones.")
    (tmp_path / "latin.md").write_bytes("Stöne.".encode("latin-1"))

    assert problems(tmp_path) == [
        ("binary.md", "BINARY"),
        ("empty.md", "NO_TEXT"),
        ("front.md", "BAD_FRONT_MATTER"),
        ("latin.md", "BAD_UTF8"),
    ]


def test_a_huge_file_is_refused_unread(tmp_path: Path) -> None:
    with (tmp_path / "huge.md").open("wb") as file:
        file.truncate(50 << 20)
    (found,) = problems(tmp_path)

    assert found == ("huge.md", "TOO_LARGE")
    with pytest.raises(BadDocuments, match="wanted at most 4 MiB, found 50 MiB"):
        read(tmp_path)


def test_a_document_of_the_largest_size_is_read_to_its_end(tmp_path: Path) -> None:
    line = "The tide comes in over the steps of the old quay and takes with it whatever was left there by the day.\n\n"
    sections = "".join(f"# Part {number}\n\n{line * 10}" for number in range(MAX_MARKDOWN // (len(line) * 10 + 20)))
    (tmp_path / "large.md").write_text(sections)
    (found,) = read(tmp_path)

    assert len(found.chunks) >= sections.count("# Part")
    assert found.chunks[-1].line_to == sections.count("\n") - 1


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    (tmp_path / "places").mkdir()
    for name in ("places/quay.md", "Places quay.md"):
        (tmp_path / name).write_text("Stones.")

    assert problems(tmp_path) == [("places/quay.md", "SAME_NAME")]


def test_links_that_go_round_are_no_way(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "quay.md").write_text("Stones.")
    (tmp_path / "a" / "round").symlink_to(tmp_path, target_is_directory=True)
    assert [one.path for one in read(tmp_path)] == ["a/quay.md"]

    (tmp_path / "self.md").symlink_to(tmp_path / "self.md")
    (tmp_path / "gone.md").symlink_to(tmp_path / "nowhere.md")
    assert problems(tmp_path) == [("gone.md", "UNREADABLE"), ("self.md", "UNREADABLE")]


def test_a_link_within_the_folder_is_followed_and_one_out_of_it_is_not(tmp_path: Path) -> None:
    (tmp_path / "lore").mkdir()
    (tmp_path / "keys.txt").write_text("The key of the vault.")
    (tmp_path / "lore" / "quay.md").write_text("Stones.")
    (tmp_path / "lore" / "again.md").symlink_to("quay.md")
    assert [one.path for one in read(tmp_path / "lore")] == ["again.md", "quay.md"]

    (tmp_path / "lore" / "out.md").symlink_to("../keys.txt")
    assert problems(tmp_path / "lore") == [("out.md", "NO_FILE")]
    (tmp_path / "named.md").symlink_to("lore/quay.md")
    assert [one.path for one in read(tmp_path / "named.md")] == ["named.md"]  # whoever names a link means it


def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.md")
    (tmp_path / "device.md").symlink_to("/dev/zero")

    assert problems(tmp_path) == [("device.md", "NO_FILE"), ("pipe.md", "NO_FILE")]


@pytest.mark.parametrize("name", [b"st\xf6ne.md", b"two\nlines.md"])
def test_a_name_that_cannot_be_printed_is_refused_in_a_way_that_can(tmp_path: Path, name: bytes) -> None:
    (tmp_path / os.fsdecode(name)).write_text("Stones.")
    with pytest.raises(BadDocuments) as found:
        read(tmp_path)

    assert found.value.problems[0].code == "BAD_NAME"
    assert str(found.value).splitlines()[1].isprintable()


@pytest.mark.parametrize("locked", ["file", "folder"])
def test_what_may_not_be_read_is_named(tmp_path: Path, locked: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may read everything, so the refusal is the system's own, made where the file is opened."""
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "quay.md").write_text("Stones.")
    shut = tmp_path / "a" / ("quay.md" if locked == "file" else "")
    if os.geteuid() == 0:
        _refuse(monkeypatch, shut)
    else:
        shut.chmod(0)
    if locked == "file":
        assert problems(tmp_path) == [("a/quay.md", "UNREADABLE")]
    else:
        with pytest.raises(BadSettings, match="Permission denied: grant it"):
            read(tmp_path)
    shut.chmod(0o700)


def _refuse(monkeypatch: pytest.MonkeyPatch, shut: Path) -> None:
    def refusing(name: str) -> Callable[..., object]:
        call = getattr(os, name)

        def opened(path: object, *arguments: object, **more: object) -> object:
            if Path(os.fspath(path)) == shut:  # type: ignore[arg-type, call-overload]
                raise PermissionError(13, "Permission denied", os.fspath(shut))
            return call(path, *arguments, **more)

        return opened

    for name in ("open", "scandir"):
        monkeypatch.setattr(os, name, refusing(name))


@pytest.mark.parametrize("name", ["nowhere", "empty", "picture.png"])
def test_where_nothing_is_to_be_read_the_next_step_is_said(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "picture.png").write_bytes(b"\x89PNG")
    with pytest.raises(BadSettings, match=r"wanted (a document|documents)"):
        read(tmp_path / name)


HTML = "<html><head><title>x</title></head><body><h1>The Quay</h1><p>Stones.</p><h2>Steps</h2><ul><li>Wet</li></ul></body></html>"
converter = pytest.mark.skipif(
    not available(), reason="the extra `documents` is not installed: 'make test-documents' runs this in its own environment"
)


def test_without_the_extra_the_error_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "quay.html").write_text(HTML)
    monkeypatch.setattr(convert, "available", lambda: False)
    with pytest.raises(BadDocuments, match=r"pip install 'worldbus\[documents\]'"):
        read(tmp_path)


@converter
def test_html_is_read_by_its_headings(tmp_path: Path) -> None:
    (tmp_path / "quay.html").write_text(HTML)
    (tmp_path / "quay.html.yaml").write_text("title: Quay\naudience: npc:pell\n")
    (found,) = read(tmp_path)

    assert (found.slug, found.title) == ("quay", "Quay")
    assert [(chunk.heading, chunk.text) for chunk in found.chunks] == [
        (("Quay", "The Quay"), "Stones."),
        (("Quay", "The Quay", "Steps"), "* Wet"),
    ]
    assert {chunk.marks.audience for chunk in found.chunks} == {("npc:pell", "storyteller")}


@converter
def test_docx_is_read_by_its_headings(tmp_path: Path) -> None:
    _docx(tmp_path / "quay.docx", [("Heading1", "The Quay"), ("", "Stones."), ("Heading2", "Steps"), ("", "Wet.")])
    (found,) = read(tmp_path)

    assert [(chunk.heading, chunk.text) for chunk in found.chunks] == [(("The Quay",), "Stones."), (("The Quay", "Steps"), "Wet.")]


@converter
def test_pdf_is_read(tmp_path: Path) -> None:
    (tmp_path / "quay.pdf").write_bytes(_pdf("Stones of the quay."))
    (found,) = read(tmp_path)

    assert [chunk.text for chunk in found.chunks] == ["Stones of the quay."]


@converter
@pytest.mark.parametrize(
    ("name", "raw"), [("a.docx", b"PK\x03\x04no"), ("a.pdf", b"%PDF-1.7 broken"), ("a.html", b""), ("b.docx", b"text")]
)
def test_a_broken_document_is_refused(tmp_path: Path, name: str, raw: bytes) -> None:
    (tmp_path / name).write_bytes(raw)
    ((file, code),) = problems(tmp_path)

    assert file == name
    assert code in ("NOT_CONVERTED", "NO_TEXT")


@converter
def test_a_document_that_swells_ends_its_own_process_only(tmp_path: Path) -> None:
    """A DOCX of some kilobytes that unpacks to gigabytes."""
    path = tmp_path / "bomb.docx"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("word/document.xml", "w", force_zip64=True) as file:
        for _ in range(5 * 1024):
            file.write(b" " * (1 << 20))
    assert path.stat().st_size < MAX_CONVERTED

    assert problems(tmp_path) == [("bomb.docx", "NOT_CONVERTED")]


@converter
def test_a_converter_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "quay.html").write_text(HTML)
    monkeypatch.setattr(convert, "TIMEOUT_S", 0.01)
    with pytest.raises(convert.BadLore, match="needed more than"):
        to_markdown(tmp_path / "quay.html")


def _docx(path: Path, paragraphs: list[tuple[str, str]]) -> None:
    space = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
    relations = "http://schemas.openxmlformats.org/package/2006/relationships"
    office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    body = "".join(
        f"<w:p>{f'<w:pPr><w:pStyle w:val={style!r}/></w:pPr>' if style else ''}<w:r><w:t>{text}</w:t></w:r></w:p>"
        for style, text in paragraphs
    )
    styles = "".join(
        f'<w:style w:type="paragraph" w:styleId="Heading{level}"><w:name w:val="heading {level}"/></w:style>' for level in (1, 2)
    )
    types = "application/vnd.openxmlformats-officedocument.wordprocessingml"
    files = {
        "[Content_Types].xml": '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
        '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        f'<Override PartName="/word/document.xml" ContentType="{types}.document.main+xml"/>'
        f'<Override PartName="/word/styles.xml" ContentType="{types}.styles+xml"/></Types>',
        "_rels/.rels": f'<Relationships xmlns="{relations}">'
        f'<Relationship Id="r1" Type="{office}/officeDocument" Target="word/document.xml"/></Relationships>',
        "word/_rels/document.xml.rels": f'<Relationships xmlns="{relations}">'
        f'<Relationship Id="r1" Type="{office}/styles" Target="styles.xml"/></Relationships>',
        "word/document.xml": f'<w:document xmlns:w="{space}"><w:body>{body}</w:body></w:document>',
        "word/styles.xml": f'<w:styles xmlns:w="{space}">{styles}</w:styles>',
    }
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)


def _pdf(text: str) -> bytes:
    stream = f"BT /F1 12 Tf 72 720 Td ({text}) Tj ET".encode()
    parts = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R /Resources << /Font << /F1 5 0 R >> >> >>",
        b"<< /Length %d >>\nstream\n%b\nendstream" % (len(stream), stream),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    out, places = b"%PDF-1.4\n", []
    for number, part in enumerate(parts, start=1):
        places.append(len(out))
        out += b"%d 0 obj\n%b\nendobj\n" % (number, part)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    return out + b"xref\n0 6\n0000000000 65535 f \n" + table + b"trailer << /Size 6 /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % len(out)
