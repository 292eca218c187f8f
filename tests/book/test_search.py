"""What a page says is found, in both languages: by a word, a typing error, a number of either edition."""

from __future__ import annotations

import json
import re
import unicodedata
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from mlplab.answers import ours
from mlplab.pages.html import search

PAGES = {
    "4.6.1": (
        "4.6.1 Swapping the two dropout rates",
        "Masks of the first layer; a rate λ of 0.12 ﬁts. tanh(x)+1",
    ),
    "4.7.2": ("4.7.2 加入偏置后的计算图与方程", "权重的梯度与测试误差，ＲｅＬＵ，以及 4.6.10 的过拟合。"),
    "4.8.1": ("4.8.1 Initialisation", "Biases of 16 layers; dropouts; the learning rate."),
}
# Chinese and English words of the chapter, and words that begin like another.
EVERYDAY = {
    "zh": """
        泛化误差 偏置 多项式 过拟合 欠拟合 种子 随机数 后验 先验 方差 均值 收敛 暂退法 权重衰减
        梯度 梯度爆炸 激活函数 损失 学习率 隐藏层 初始化 训练误差 测试误差 验证集 正则化 范数 惩罚
        协变量偏移 标签偏移 房价 特征 标准化 缺失 掩码 噪声 小批量 反向传播 计算图 内存 线性
        凸函数 矩阵 特征值 奇异值 超参数 随机搜索 网格 提前停止 集成 分布 样本 置信区间 证明 对数
        对称 sigmoid tanh ReLU dropout λ
    """.split(),
    "en": """
        dropout bias gradient weight polynomial overfitting underfitting variance seed prior posterior convergence
        learning rate hidden layer initialisation validation penalty norm covariate shift label house price feature
        standardised missing mask noise minibatch backpropagation memory linear convex matrix eigenvalue singular
        hyperparameter random grid stopping ensemble distribution sample interval proof log sigmoid tanh relu loss
        error accuracy bayesian symmetric depth width epoch λ
    """.split(),
}


@pytest.fixture(scope="module")
def looking(browser):
    """A page with `search.js` and nothing else."""
    page = browser.new_page()
    page.evaluate((files("mlplab.pages.html") / "assets/search.js").read_text("utf-8"))
    yield page
    page.close()


@pytest.fixture(scope="module")
def searched(looking):
    """Pages and queries -> the numbers of the pages found for each query, best first."""

    def run(pages: list[dict[str, str]], queries: list[str]) -> list[list[str]]:
        look = "([pages, queries]) => queries.map(q => mlplabSearch(pages, q).map(({ url }) => url))"
        return [
            [url.removesuffix(".html") for url in urls] for urls in looking.evaluate(look, [pages, queries])
        ]

    return run


def small() -> list[dict[str, str]]:
    return [
        {"url": f"{number}.html", "also": ours().elsewhere[number], "title": title, "text": text}
        for number, (title, text) in PAGES.items()
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("偏置", "4.7.2"),
        ("误差", "4.7.2"),
        ("置后", "4.7.2"),  # no dictionary says where a word ends
        ("梯度 过拟合", "4.7.2"),
        ("relu", "4.7.2"),  # as wide as a character there
        ("lambda", "4.6.1"),
        ("Lamda", "4.6.1"),
        ("λ", "4.6.1"),
        ("fits", "4.6.1"),  # a ligature there
        ("dropuot rates", "4.6.1"),
        ("DROPOUT RATE first", "4.6.1"),
        ("tanh(x)+1", "4.6.1"),
        ("0.12", "4.6.1"),
        ("initialization", "4.8.1"),
        ("initialize", "4.8.1"),
        ("5.4.1", "4.8.1"),
        ("5.6.1", "4.6.1"),
        ("bias", "4.8.1"),
        ("learning", "4.8.1"),
        ("earn", ""),  # a word is found at its beginning
        ("6", ""),  # and a number whole
        ("2", ""),
        ("4.6.10", "4.7.2"),
        ("ㄅㄆㄇ", ""),
        ("?!", ""),
        ("", ""),
    ],
)
def test_a_query_finds_the_page_that_is_meant(searched, query, expected):
    (found,) = searched(small(), [query])
    assert found[:1] == [expected] * bool(expected)


@pytest.mark.slow
def test_what_is_in_a_title_comes_first_and_all_words_are_needed(searched):
    found = searched(small(), ["4.6.1", "dropout", "masks dropout", "masks biases"])
    assert found[0] == ["4.6.1"]
    assert found[1] == ["4.6.1", "4.8.1"]
    assert found[2] == ["4.6.1"]
    assert set(found[3]) == {"4.6.1", "4.8.1"}  # no page has both


@pytest.mark.slow
def test_an_excerpt_marks_what_was_found_in_the_letters_of_the_page(looking):
    look = "([pages, q]) => mlplabSearch(pages, q)[0].excerpt"
    assert ["ＲｅＬＵ", True] in looking.evaluate(look, [small(), "relu"])
    shown = looking.evaluate(look, [small(), "fits"])
    assert [words for words, is_hit in shown if is_hit] == ["ﬁts"]
    assert "".join(words for words, _ in shown) == PAGES["4.6.1"][1]


def test_words_of_a_page_are_what_it_says_and_nothing_around_it():
    page = """<body><header>Menu</header><main data-search><h1><span>4.6.1</span> Two rates</h1>
      <p data-unsearched>Badge <b>no</b></p><ul><li>One</li><li>two, <em>thr</em>ee</li></ul>
      <svg><text>axis</text></svg><p>So <math><msub><mi>x</mi><mn>1</mn></msub><mo>+</mo><mi>y</mi></math>.<br>
      End &lt;b&gt;</p></main><footer>Foot</footer>"""
    assert search.words(page) == {"title": "4.6.1 Two rates", "text": "One two, three So x1+y. End <b>"}
    assert search.words("<main><h1>Not searched</h1></main>") is None


def test_numbers_of_the_english_edition_are_those_of_exercises():
    assert set(ours().elsewhere) <= set(ours().exercises)
    asked = [number for number in ours().exercises if number not in ours().elsewhere]
    assert asked == ["4.4.2", "4.4.3", "4.10.2"]  # not asked there


# The real book


def indexed(book: Path, language: str) -> list[dict[str, Any]]:
    script = (book / f"assets/search-{language}.js").read_text("utf-8")
    return json.loads(script.partition(" = ")[2].removesuffix(";\n"))


def words_of(title: str, language: str) -> set[str]:
    """Words, and in Chinese all that could be one: two to four characters."""
    words = set(re.findall(r"[^\W\d_]+|\d+(?:\.\d+)+", title))
    if language == "en":
        return words
    runs = [run for word in words for run in re.findall(r"[一-鿿]+", word)]
    parts = {run[i : i + n] for run in runs for n in (2, 3, 4) for i in range(len(run) - n + 1)}
    return {*runs, *parts, *(w for word in words for w in re.findall(r"[a-zA-Z]+", word))}


@pytest.mark.slow
@pytest.mark.parametrize("language", ["zh", "en"])
def test_every_word_of_every_title_finds_its_page_and_the_title_finds_it_first(
    searched, built_book, language
):
    pages = indexed(built_book, language)
    assert {page["url"].removesuffix(".html") for page in pages} == {
        *ours().exercises, "notes", "errata", "glossary", *(f"from-{name}" for name in ours().sets)
    }  # fmt: skip
    pairs = [(word, page) for page in pages for word in words_of(page["title"], language)]
    assert len(pairs) > 150
    found = searched(pages, [word for word, _ in pairs])
    missed = [
        (word, page["title"])
        for (word, page), numbers in zip(pairs, found, strict=True)
        if page["url"].removesuffix(".html") not in numbers
    ]
    assert missed == []
    first = searched(pages, [page["title"] for page in pages])
    assert [numbers[0] for numbers in first] == [page["url"].removesuffix(".html") for page in pages]


@pytest.mark.slow
@pytest.mark.parametrize("language", ["zh", "en"])
def test_everyday_words_find_exactly_the_pages_that_say_them(searched, built_book, language):
    pages = indexed(built_book, language)
    said = {
        page["url"].removesuffix(".html"): unicodedata.normalize(
            "NFKC", f"{page['title']} {page['text']}"
        ).lower()
        for page in pages
    }
    wanted = {}
    for word in EVERYDAY[language]:
        forms = {"λ": "λ|(?<![a-z])lambda"}.get(word, word.lower())
        look = re.compile(forms if not word.isascii() else f"(?<![a-z]){forms}")
        wanted[word] = {number for number, text in said.items() if look.search(text)}
    assert sum(map(bool, wanted.values())) >= 50  # the others are said by no page
    found = dict(zip(wanted, map(set, searched(pages, list(wanted))), strict=True))
    # What no page says may be a typing error, or lie in parts.
    assert {word: found[word] for word, pages in wanted.items() if pages} == {
        word: pages for word, pages in wanted.items() if pages
    }
