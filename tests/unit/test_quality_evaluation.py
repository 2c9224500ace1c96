import numpy as np
import pytest

from simulator.errors import InputError
from simulator.quality.evaluation import read_evaluation


def write(tmp_path, text):
    path = tmp_path / "data.csv"
    path.write_text(text)
    return path


def problems(tmp_path, text, **where):
    with pytest.raises(InputError) as caught:
        read_evaluation(write(tmp_path, text), where)
    found = []
    for problem in caught.value.problems:
        assert problem.file.endswith("data.csv")
        found.append((problem.line, problem.field, problem.message))
    return found


def test_points(tmp_path):
    text = "thinking_tokens,accuracy,n,control\n500,0.1,30,forced\n\n2000, 0.5 ,30,natural\n"
    points = read_evaluation(write(tmp_path, text))
    assert points.tokens.tolist() == [500, 2000]
    assert points.accuracy.tolist() == [0.1, 0.5]
    assert points.forced.tolist() == [True, False]
    assert points.attempts.tolist() == [30, 30]
    assert points.counts == []


def test_published_columns_and_a_choice_of_rows(tmp_path):
    text = (
        "model,control,mean_thinking_tokens,accuracy_pct,source\n"
        'a,budget_forcing,500,64.0,"x, y"\nb,natural,700,10,z\na,effort,900,80,z\n'
    )
    points = read_evaluation(write(tmp_path, text), {"model": "a"})
    assert points.accuracy == pytest.approx([0.64, 0.8])
    assert points.forced.tolist() == [True, False]
    assert points.attempts is None


def test_problem_by_problem(tmp_path):
    text = "thinking_tokens,problem,correct,total\n" + "".join(
        f"{tokens},{problem},{correct},4\n"
        for tokens in (500, 2000)
        for problem, correct in enumerate([0, 2, 4])
    )
    points = read_evaluation(write(tmp_path, text + "2000,3,8,8\n"))
    assert points.tokens.tolist() == [500, 2000]
    assert points.accuracy == pytest.approx([0.5, 0.625])
    assert points.attempts.tolist() == [12, 20]
    assert [correct.tolist() for correct, _ in points.counts] == [[0, 2, 4], [0, 2, 4, 8]]


def test_counts_without_problems_are_points(tmp_path):
    points = read_evaluation(write(tmp_path, "thinking_tokens,correct,total\n500,3,10\n500,5,10\n"))
    assert points.accuracy == pytest.approx([0.3, 0.5])
    assert points.counts == []


def test_everything_wrong_at_once(tmp_path):
    text = "thinking_tokens,accuracy,n,control\n-5,1.5,0,forced\nlots,,30,maybe\ninf,0.5,,\n"
    found = problems(tmp_path, text)
    assert [(line, field) for line, field, _ in found] == [
        (2, "thinking_tokens"),
        (2, "accuracy"),
        (2, "n"),
        (3, "control"),
        (3, "thinking_tokens"),
        (3, "accuracy"),
        (4, "thinking_tokens"),
    ]
    assert found[1][2] == "must be from 0 to 1, not 1.5"
    assert found[4][2] == "must be a number, not 'lots'"
    assert found[5][2] == "is empty"


def test_impossible_counts(tmp_path):
    text = "thinking_tokens,correct,total\n500,5,4\n500,1,0\n500,1.5,4\n"
    found = problems(tmp_path, text)
    assert [(line, field) for line, field, _ in found] == [
        (2, "correct"),
        (3, "total"),
        (4, "correct"),
    ]


def test_missing_columns(tmp_path):
    found = problems(tmp_path, "tokens,accuracy,total\n1,0.5,4\n", model="x")
    assert [(line, field) for line, field, _ in found] == [
        (1, "model"),
        (1, "thinking_tokens"),
        (1, None),
        (1, "correct"),
    ]
    assert problems(tmp_path, "thinking_tokens\n5\n")[0][2].startswith("give exactly one")


def test_files_that_are_no_tables(tmp_path):
    assert problems(tmp_path, "")[0][2] == "is empty"
    assert problems(tmp_path, "thinking_tokens,accuracy\n")[0][2] == "has no rows"
    assert problems(tmp_path, "a,a\n1,2\n")[0][1:] == ("a", "column is there twice")
    assert "3 cells" in problems(tmp_path, "thinking_tokens,accuracy\n1,2,3\n")[0][2]
    rows = "thinking_tokens,accuracy,model\n1,0.5,a\n"
    assert problems(tmp_path, rows, model="b")[0][2] == "no rows with model=b"
    with pytest.raises(InputError, match="no such file"):
        read_evaluation(tmp_path / "none.csv")
    (tmp_path / "latin.csv").write_bytes(b"thinking_tokens,accuracy\n\xff,1\n")
    with pytest.raises(InputError, match="UTF-8"):
        read_evaluation(tmp_path / "latin.csv")


def test_nan_is_no_accuracy(tmp_path):
    assert problems(tmp_path, "thinking_tokens,accuracy\n5,nan\n")[0][1] == "accuracy"
    assert np.isfinite(read_evaluation(write(tmp_path, "thinking_tokens,accuracy\n5,0\n")).tokens)
