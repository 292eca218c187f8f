"""What only the printed book says, in both languages."""

from __future__ import annotations

from mlplab.claims import Words

PRINTED: dict[str, Words] = {
    "cover_above": Words(
        "Dive into Deep Learning, chapter 4: Multilayer perceptrons", "《动手学深度学习》第 4 章“多层感知机”"
    ),
    "cover_squares": Words(
        "Each square is an exercise; its sign is the worst verdict on what circulates about it.",
        "每个方格是一道练习，其中的记号是对流传答案的判定里最差的一个。",
    ),
    "full_title": Words(
        "The answer book that proves itself: Dive into Deep Learning, chapter 4, Multilayer perceptrons",
        "自证答案书：《动手学深度学习》第 4 章“多层感知机”",
    ),
    "authors": Words("mlplab developers", "mlplab developers"),
    "keywords": Words(
        "deep learning, multilayer perceptron, exercises, answers, experiments",
        "深度学习, 多层感知机, 练习, 答案, 实验",
    ),
    "table_of_contents": Words("Contents", "目录"),
    "page": Words("Page", "页"),
    "glance": Words("The verdicts at a glance", "判定一览"),
    "glance_intro": Words(
        "What circulates about each exercise, and what it is worth on the evidence. {answered} of {total} exercises "
        "have published evidence.",
        "关于每道练习流传着怎样的答案，依据证据各作何判定。{total} 道练习中，{answered} 道已有发布的证据。",
    ),
    "see": Words("What was found is shown in ", "结果见"),
    "list_comma": Words(", ", "、"),
    "full_stop": Words(".", "。"),
    "the_section_of": Words("The section in the book", "原书小节"),
    "attached": Words(
        "Attached to this PDF as it is, to be saved and run:", "已原样附在本 PDF 中，可存出运行："
    ),
    "colophon": Words("How this book was made", "本书是怎样做成的"),
    "colophon_made": Words(
        "Made by mlplab {version} at source revision {revision}, on Python {python}, from the published evidence. "
        "While it was made, every claim was checked again on the published observations, and so was every statement "
        "known to be false, which the same check must reject. Had one verdict changed, one control passed or one "
        "formula failed, there would be no book. What made the evidence of an exercise stands at its end.",
        "本书由 mlplab {version}（源代码版本 {revision}，Python {python}）根据已发布的证据生成。"
        "生成时，每条论断都在已发布的观测上重新检验，每个已知为假的对照也再次检验，并且必须被同一个检验拒绝。"
        "只要有一个判定改变、一个对照通过或一个公式出错，就不会有这本书。每道练习的证据由什么产生，写在该练习的末尾。",
    ),
    "colophon_set": Words(
        "Texts are Markdown with numbers in their places, read by pandoc and set by Typst {typst}; figures are drawn "
        "from Vega-Lite. Fonts, all under the SIL Open Font License: {fonts}.",
        "文字是留有数字位置的 Markdown，由 pandoc 解析，由 Typst {typst} 排版；图由 Vega-Lite 绘制。"
        "所用字体均依 SIL Open Font License 发布：{fonts}。",
    ),
    "colophon_again": Words(
        "The same book is made by “mlplab book build”, without a network. The programs of all answers are attached to "
        "this file.",
        "用 mlplab book build 可以生成同一本书，不需要网络。全部答案的程序都附在本文件中。",
    ),
    "colophon_license": Words(
        "Published under the MIT license. Questions are restated in our own words; Dive into Deep Learning itself is "
        "free to read.",
        "依 MIT 许可证发布。题目均以我们自己的话重述；《动手学深度学习》原书可免费阅读。",
    ),
}
