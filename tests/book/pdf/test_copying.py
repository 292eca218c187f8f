"""Programs that are copied out of a PDF keep their indentation."""

from __future__ import annotations

import pytest

from mlplab.pages import typefaces
from mlplab.pages.pdf import copying

PROGRAM = """for a in range(3):
    if a:  # twice
        if (a,
            0):
            print(a)
    else:
        pass
"""


def test_indentation_is_set_as_wide_as_it_is_typed():
    assert [len(line) for line in copying.indented(PROGRAM).split("\n")] == list(
        map(len, PROGRAM.split("\n"))
    )


@pytest.mark.slow
def test_a_program_that_is_copied_out_of_a_pdf_runs(tmp_path, capsys):
    """Without the tabs it does not: then this test looks at nothing."""
    typst = pytest.importorskip("typst", reason="needs the extra: pip install 'mlplab[book]'")
    pdfium = pytest.importorskip("pypdfium2", reason="needs pypdfium2: pip install 'mlplab[test]'")
    fonts = str(typefaces.home("fontpkg_source_code_pro") / "files")

    def copied(program: str) -> str:
        source = tmp_path / "a.typ"
        set_as = f'#show raw: set text(font: "Source Code Pro")\n```\n{program}```'
        source.write_text(set_as, "utf-8")
        pdf = copying.with_tabs(typst.compile(str(source), font_paths=[fonts]))
        return pdfium.PdfDocument(pdf)[0].get_textpage().get_text_range().replace("\r", "")

    with pytest.raises(IndentationError):
        exec(copied(PROGRAM))
    exec(copied(copying.indented(PROGRAM)))
    assert capsys.readouterr().out.split() == ["1", "2"]
