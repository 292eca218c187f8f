"""What the pages say themselves, in both languages."""

from __future__ import annotations

from mlplab.claims import Words

WORDS: dict[str, Words] = {
    "brand": Words("mlplab", "mlplab"),
    "book": Words("The answer book that proves itself", "自证答案书"),
    "subtitle": Words(
        "All 49 exercises of chapter 4, Multilayer perceptrons, of Dive into Deep Learning. Every answer is a program: "
        "a proof that a computer checks, a property tried on random inputs, or an experiment with enough seeds to say "
        "how sure it is. And of every answer that circulates it says whether it holds.",
        "《动手学深度学习》第 4 章“多层感知机”的全部 49 道练习。每个答案都是一段程序：或是计算机验证过的证明，"
        "或是在随机输入上检验过的性质，或是种子足够多、说得清把握有多大的实验。对每一条流传的说法，也都判定它是否成立。",
    ),
    "skip": Words("Skip to the text", "跳到正文"),
    "contents": Words("Exercises", "全部练习"),
    "notes": Words("What the notes got wrong", "流传的答案错在哪里"),
    "notes_short": Words("The notes", "流传的答案"),
    "errata": Words("Errata", "勘误"),
    "search": Words("Search", "搜索"),
    "search_hint": Words("Words to search for", "输入要找的词"),
    "search_none": Words("Nothing found.", "没有找到。"),
    "search_found": Words("{} found", "找到 {} 处"),
    "search_elsewhere": Words(
        "Nothing found in English. {} found in the Chinese edition:", "中文版中没有找到。英文版中找到 {} 处："
    ),
    "close": Words("Close", "关闭"),
    "theme": Words("Light or dark", "切换明暗"),
    "other": Words("中文", "English"),
    "main_nav": Words("Book", "全书"),
    "page_nav": Words("On this page", "本页内容"),
    "neighbours": Words("Neighbouring exercises", "相邻练习"),
    "exercise": Words("Exercise", "练习"),
    "section": Words("Section", "小节"),
    "the_section": Words("The section in the book: {}", "原书小节：{}"),
    "circulated_answer": Words("The circulated answer", "流传的答案"),
    "question": Words("Question", "问题"),
    "short": Words("Short answer", "简答"),
    "why": Words("Why", "为什么"),
    "evidence": Words("Evidence", "证据"),
    "circulates": Words("What circulates", "流传的说法"),
    "limits": Words("Limits", "局限"),
    "code": Words("Code", "代码"),
    "again": Words("Run it again", "自己再跑一遍"),
    "references": Words("References", "参考"),
    "provenance": Words("Where the evidence comes from", "证据的来历"),
    "copy": Words("Copy", "复制"),
    "copied": Words("Copied", "已复制"),
    "figure": Words("Figure", "图"),
    "table": Words("Table", "表"),
    "figure_note": Words(
        "Point at a mark to read its numbers. The menu saves the figure.",
        "指向图中的标记可读出数值；菜单可保存图片。",
    ),
    "save": Words("Save the figure", "保存图片"),
    "save_svg": Words("Save as SVG", "存为 SVG"),
    "save_png": Words("Save as PNG", "存为 PNG"),
    "figure_data": Words("The figure's data as a table", "以表格查看图中的数据"),
    "rows_left_out": Words("{} more rows are in the published evidence.", "其余 {} 行见已发布的证据。"),
    "scroll": Words("wide content, scrolls sideways", "内容较宽，可左右滚动"),
    "claims": Words("Claims and verdicts", "论断与判定"),
    "claims_note": Words(
        "Each claim was decided by a check that must also reject a statement known to be false.",
        "每条论断都由一个检验来判定，而同一个检验还必须能拒绝一个已知为假的说法。",
    ),
    "undecidable": Words("not yet decided", "尚未判定"),
    "control": Words("known-false control rejected", "已知为假的对照已被拒绝"),
    "no_control": Words("known-false control NOT rejected", "已知为假的对照未被拒绝"),
    "needs": Words("about {} seeds would decide", "约需 {} 个种子才能判定"),
    "checked": Words("Checked:", "验证："),
    "nothing_circulates": Words("The circulated notes skip this exercise.", "流传的笔记略过了这道题。"),
    "answer_command": Words(
        "A quick look on your machine, beside what was published",
        "在你的机器上快速跑一遍，与已发布的结果对照",
    ),
    "quick_command": Words("A quick look on your machine", "在你的机器上快速跑一遍"),
    "vary_command": Words("Turn a knob", "换个设置"),
    "full_command": Words("As it was published", "按发布时的规模"),
    "verify_command": Words("Check the published verdicts", "核对已发布的判定"),
    "no_network": Words(
        "Nothing is trained for this answer: it is proved and calculated.",
        "这道题不需要训练：答案靠证明和计算得出。",
    ),
    "data": Words("Data", "数据"),
    "fingerprint": Words("fingerprint", "指纹"),
    "draws": Words("{} draws or divisions, each with its fingerprint", "{} 次抽取或划分，各有指纹"),
    "seeds": Words("Seeds of each arm", "每组的种子数"),
    "studies": Words("Studies", "实验"),
    "revision": Words("Source revision", "源代码版本"),
    "versions": Words("Versions", "软件版本"),
    "processor": Words("Processor", "处理器"),
    "evidence_file": Words("Every number is in", "全部数字见"),
    "open_title": Words("Not answered yet", "尚未解答"),
    "open_text": Words(
        "Nobody has written this answer yet. The exercise can be read in its section.",
        "这道题还没有人写出答案。题目见原书小节。",
    ),
    "unpublished_title": Words("Evidence not yet published", "证据尚未发布"),
    "unpublished_text": Words(
        "The answer is written, but the evidence that its sentences would quote has not been published. Until then "
        "there is no verdict: the claims below are what will be decided. You can run it now:",
        "答案已经写好，但文字所要引用的证据还没有发布。在此之前不作判定：下面列出将要判定的论断。你现在就可以运行它：",
    ),
    "index_all": Words(
        "{answered} of {total} exercises have published evidence.",
        "{total} 道练习中，{answered} 道已有发布的证据。",
    ),
    "index_circulated": Words("What circulates, judged", "对流传答案的判定"),
    "state_open": Words("open", "待解答"),
    "state_unpublished": Words("no evidence yet", "证据未发布"),
    "undecided_yet": Words("awaits evidence", "待证据"),
    "as_pdf": Words("The book as PDF, to print", "本书的 PDF 版，可供打印"),
    "legend": Words("What the words mean", "各判定的含义"),
    "notes_intro": Words(
        "One set of notes on these exercises circulates widely. It says itself that it may not be entirely right. Here "
        "is every statement of it that does not stand as it is, and why. Judgements come from the same evidence as the "
        "answers.",
        "这些练习有一份流传很广的笔记，它自己也声明“可能不完全正确”。这里列出其中所有不能照单全收的说法及其理由。"
        "判定与答案依据同样的证据。",
    ),
    "notes_right": Words("And what it got right", "说对了的"),
    "notes_none": Words("Nothing has been judged yet.", "还没有任何判定。"),
    "notes_count": Words(
        "{count} of {total} judged statements do not stand as they are.",
        "在已判定的 {total} 条说法中，{count} 条不能照单全收。",
    ),
    "errata_intro": Words(
        "Corrections to this book that readers sent, each with the claim that now guards it. How to send one is in "
        "CONTRIBUTING: open an issue with the exercise's number and what you see.",
        "读者寄来的对本书的更正，每一条都附有如今守住它的那条论断。寄送办法见 CONTRIBUTING："
        "开一个 issue，写明练习编号和你看到的问题。",
    ),
    "errata_none": Words("No correction has been sent yet.", "还没有收到更正。"),
    "errata_by": Words("Reported by {}. Thank you.", "由 {} 指出，谨致谢意。"),
    "errata_claim": Words("Now guarded by the claim:", "如今由这条论断守住："),
    "footer": Words(
        "Questions are restated in our own words; the book itself is free. Every number on these pages was computed.",
        "题目均以我们自己的话重述；原书可免费阅读。页面上的每一个数字都是算出来的。",
    ),
    "the_book": Words("Dive into Deep Learning", "动手学深度学习"),
    "landing": Words("Choose a language", "选择语言"),
}

MEANINGS: dict[str, Words] = {
    "right": Words("It holds, as far as the evidence goes.", "就证据而言成立。"),
    "wrong": Words("It does not hold.", "不成立。"),
    "incomplete": Words(
        "Right as far as it goes; what matters is missing.", "说到的没错，但缺了要紧的部分。"
    ),
    "misread": Words("It answers another question.", "答的是另一个问题。"),
    "unsupported": Words("Nothing shows it; it may be either.", "没有证据，可能对也可能错。"),
    "skipped": Words("The notes give no answer.", "笔记没有作答。"),
}
