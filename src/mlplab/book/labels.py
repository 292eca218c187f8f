"""The words of the book's own frame, in both languages."""

from __future__ import annotations

from typing import Literal

from mlplab.claims import Judgement, Words
from mlplab.stats import Verdict

VERDICTS: dict[Verdict, Words] = {
    "holds": Words("holds", "成立"),
    "fails": Words("fails", "不成立"),
    "undecided": Words("undecided", "未定"),
}
JUDGEMENTS: dict[Judgement, Words] = {
    "right": Words("right", "正确"),
    "wrong": Words("wrong", "错误"),
    "incomplete": Words("incomplete", "不完整"),
    "misread": Words("misread", "误读题意"),
    "unsupported": Words("unsupported", "缺乏依据"),
    "skipped": Words("skipped", "略过"),
}
# Their signs, for who sees no colours; `awaits`: evidence is yet to decide.
SHAPES: dict[Verdict | Judgement | Literal["awaits"], str] = {
    "holds": "✓", "fails": "✗", "undecided": "?",
    "right": "✓", "wrong": "✗", "incomplete": "◐", "misread": "↷", "unsupported": "?", "skipped": "–",
    "awaits": "…",
}  # fmt: skip
KINDS = {
    "proof": Words("proof", "证明"),
    "property": Words("property", "性质"),
    "experiment": Words("experiment", "实验"),
    "calculation": Words("calculation", "计算"),
}
OF_KIND = Words(" ({})", "（{}）")  # behind a claim
EXERCISE = Words("exercise", "练习")
SECTION = Words("section", "小节")
THIS_RUN = Words("this run", "本次运行")
PUBLISHED = Words("published", "已发布")
CHANGED = Words("changed: {}", "改动：{}")
CHANGED_TO = Words("{knob} {value} (published: {published})", "{knob} {value}（已发布的是 {published}）")
CHANGED_FROM = Words("{knob} {value} (otherwise {own})", "{knob} {value}（不改时是 {own}）")
# A quick look may stand elsewhere than what was published.
CHANGED_BACK = Words(
    "{knob} {value} (as published; this look otherwise takes {own})",
    "{knob} {value}（与已发布的相同；这样浏览时不改是 {own}）",
)
CHANGED_LIMITS = Words(
    "Where the text speaks of a setting, it is the published one; {} is this run's.",
    "文中说到的设置是已发布证据的设置；本次运行用的是 {}。",
)
AND = Words("; ", "；")
SEEDS = Words("seeds", "个种子")
CLAIM = Words("claim", "论断")
NEEDS = Words("needs about {} seeds", "约需 {} 个种子")
STATE = Words("state", "状态")
TITLE = Words("title", "题目")
ANSWERED = Words("answered", "已解答")
UNPUBLISHED = Words("answered, evidence to come", "已解答，证据待发布")
OPEN = Words("open", "待解答")
FIGURE = Words("Figure", "图")
VARY = Words("Vary it", "换个设置再跑")
AGAIN = Words("Published evidence again", "重跑已发布的证据")
TWO_RESULTS = Words(
    "Runs that {one} and {other} both publish, {different} of {shared} with two results:",
    "{one} 与 {other} 都发布的 {shared} 次运行，有 {different} 次是两个结果：",
)
# One run with two results, by an exercise each
ONE_RUN = Words(
    "run {digest}, seed {seed}, {metric}: {here} and {there}",
    "运行 {digest}，种子 {seed}，{metric}：{here}与 {there}",
)
STATUS = {"finished": Words("finished", "完成"), "diverged": Words("diverged", "发散")}
METRICS = {
    "status": Words("outcome", "结局"),
    "test_accuracy": Words("test accuracy", "测试准确率"),
    "validation_accuracy": Words("validation accuracy", "验证准确率"),
    "train_accuracy": Words("training accuracy", "训练准确率"),
    "test_loss": Words("test loss", "测试损失"),
    "validation_loss": Words("validation loss", "验证损失"),
    "train_loss": Words("training loss", "训练损失"),
}
LAPSED = Words("published verdict no longer reached: {}", "以下论断已得不到发布时的判定：{}")
EVIDENCE = Words("Evidence", "证据")
CODE = Words("Code", "代码")
CONTRADICTED = Words("does not stand: {}", "站不住：{}")
UNGUARDED = Words("the check let its known-false control pass: {}", "检验放过了已知为假的对照：{}")
DIFFERING = Words("otherwise on this other data: {}", "换了数据，结果不同：{}")
STANDS = Words("The published verdicts stand.", "已发布的判定成立。")
AUDITED = {
    "stands": Words("stands", "成立"),
    "does not stand": Words("does not stand", "不成立"),
    "unpublished": Words("nothing published", "尚未发布证据"),
    "failed": Words("could not be run", "无法运行"),
    "crashed": Words("crashed: a defect of mlplab", "程序崩溃：mlplab 的缺陷"),
}
AUDIT = Words(
    "{stood} of {published} published answers stand; {unpublished} exercises have nothing published. {seconds} s.",
    "已发布的 {published} 个解答中有 {stood} 个成立；{unpublished} 道练习尚未发布证据。用时 {seconds} 秒。",
)
CHECKED = Words("{} claims", "{} 个论断")

# The book
PDF_NAME = "mlplab-answers-{}.pdf"  # of a language
INTERVAL = Words("{prob} {method} interval, {n} replicates", "{prob} {method}区间，{n} 次重复")
METHODS = {
    "t": Words("t", "t "),
    "exact": Words("exact", "精确"),
    "clopper-pearson": Words("Clopper-Pearson", "Clopper-Pearson "),
}
POINTS = Words("points", "个百分点")
