"""The 49 exercises of chapter 4, by number, in our own words.

Numbers are those of the Chinese edition, version 2, and of the English edition 0.17.
"""

from __future__ import annotations

from dataclasses import dataclass

from mlplab.claims import Language, Words
from mlplab.errors import InvalidInput, UnknownName


@dataclass(frozen=True)
class Section:
    """A section of the chapter: its number, title and page."""

    number: str
    title: Words
    page: str

    def link(self, language: Language) -> str:
        """Its address in the edition of that language."""
        host = "zh.d2l.ai" if language == "zh" else "classic.d2l.ai"
        return f"https://{host}/chapter_multilayer-perceptrons/{self.page}.html"


@dataclass(frozen=True)
class Exercise:
    """One exercise: its number (`4.6.1`), section and a title that says what it asks."""

    number: str
    section: Section
    title: Words


def _section(number: str, en: str, zh: str, page: str, *titles: tuple[str, str]) -> list[Exercise]:
    section = Section(number, Words(en, zh), page)
    return [Exercise(f"{number}.{i}", section, Words(*title)) for i, title in enumerate(titles, start=1)]


EXERCISES: dict[str, Exercise] = {
    exercise.number: exercise
    for section in (
        _section(
            "4.1", "Multilayer perceptrons", "多层感知机", "mlp",
            ("The derivative of pReLU", "pReLU 的导数"),
            ("A ReLU network is continuous and piecewise linear", "ReLU 网络是连续的分段线性函数"),
            ("tanh and sigmoid networks are the same", "tanh 网络与 sigmoid 网络等价"),
            ("A nonlinearity applied to a whole minibatch", "作用于整个小批量的非线性"),
        ),
        _section(
            "4.2", "Multilayer perceptrons from scratch", "多层感知机的从零开始实现", "mlp-scratch",
            ("How many hidden units", "隐藏单元取多少"),
            ("Adding hidden layers", "增加隐藏层"),
            ("The learning rate", "学习率的影响"),
            ("The best of all hyperparameters together", "联合选择所有超参数"),
            ("Why several hyperparameters are harder than one", "为什么多个超参数更难"),
            ("A clever search strategy", "聪明的搜索策略"),
        ),
        _section(
            "4.3", "Concise multilayer perceptrons", "多层感知机的简洁实现", "mlp-concise",
            ("How many layers, at which learning rate", "层数与学习率"),
            ("Which activation function", "哪种激活函数最好"),
            ("Which initialisation", "哪种初始化最好"),
        ),
        _section(
            "4.4", "Model selection, underfitting, overfitting", "模型选择、欠拟合和过拟合", "underfit-overfit",
            ("Polynomial regression, solved exactly", "多项式回归的精确解"),
            ("Loss against degree and amount of data", "损失与多项式阶数、数据量的关系"),
            ("Without the factorial scaling", "不做阶乘缩放会怎样"),
            ("Can the generalisation error be zero", "泛化误差能为零吗"),
        ),
        _section(
            "4.5", "Weight decay", "权重衰减", "weight-decay",
            ("Training and test loss against λ", "训练与测试损失随 λ 的变化"),
            ("The best λ on validation data", "用验证集选 λ"),
            ("The update under an L1 penalty", "L1 惩罚下的更新"),
            ("The squared norm of a matrix", "矩阵的平方范数"),
            ("Other remedies for overfitting", "应对过拟合的其他办法"),
            ("Priors and penalties", "先验与正则化"),
        ),
        _section(
            "4.6", "Dropout", "暂退法", "dropout",
            ("Change and swap the two dropout rates", "改变并交换两层的暂退概率"),
            ("More epochs, with and without dropout", "更多轮数：用与不用暂退法"),
            ("Variance of the activations", "激活值的方差"),
            ("Why not at test time", "为什么测试时不用"),
            ("Dropout together with weight decay", "暂退法与权重衰减一起用"),
            ("Dropout on single weights", "对单个权重做暂退"),
            ("Another noise", "发明另一种噪声"),
        ),
        _section(
            "4.7", "Forward and backward propagation", "前向传播、反向传播和计算图", "backprop",
            ("The shape of a gradient", "梯度的形状"),
            ("The graph and equations with biases", "加入偏置后的计算图与方程"),
            ("Memory for training and prediction", "训练与预测的内存"),
            ("Second derivatives", "二阶导数"),
            ("A graph too large for one GPU", "一块 GPU 放不下的计算图"),
        ),
        _section(
            "4.8", "Numerical stability and initialisation", "数值稳定性和模型初始化",
            "numerical-stability-and-init",
            ("Other symmetries to break", "其他需要打破的对称性"),
            ("Equal weights in linear and softmax regression", "线性与 softmax 回归能否用相同的初值"),
            ("Bounds on the eigenvalues of a product", "矩阵乘积特征值的界"),
            ("Repairing divergence afterwards", "发散之后能否补救"),
        ),
        _section(
            "4.9", "Environment and distribution shift", "环境和分布偏移", "environment",
            ("When a search engine changes", "改变搜索引擎之后"),
            ("A detector of covariate shift", "协变量偏移检测器"),
            ("Correcting covariate shift", "协变量偏移纠正"),
            ("What else parts empirical from true risk", "还有什么让经验风险偏离真实风险"),
        ),
        _section(
            "4.10", "Predicting house prices", "实战 Kaggle 比赛：预测房价", "kaggle-house-price",
            ("How good is the submission", "提交的预测有多好"),
            ("Minimising the logarithm", "直接最小化对数误差"),
            ("Is filling in the mean always good", "用均值填补总是好主意吗"),
            ("Tuning by k-fold validation", "用 K 折交叉验证调参"),
            ("Improving the model", "改进模型"),
            ("Without standardisation", "不做标准化会怎样"),
        ),
    )
    for exercise in section
}  # fmt: skip


def exercise(number: str) -> Exercise:
    """The exercise of that number. Raises UnknownName, naming the nearest."""
    if number not in EXERCISES:
        remedy = "mlplab list shows all 49."
        if number.count(".") == 1 and any(n.startswith(f"{number}.") for n in EXERCISES):
            last = [n for n in EXERCISES if n.startswith(f"{number}.")][-1]
            raise InvalidInput(
                "exercise", f"must name one of the section's, {number}.1 to {last}", number, remedy
            )
        raise UnknownName("exercise", number, EXERCISES, remedy)
    return EXERCISES[number]
