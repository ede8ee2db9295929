"""What the compiler did, as text: a graph, and each stage as it happens."""

import numpy as np

import hawfinch as hf
from hawfinch.compiler.show import stage
from hawfinch.ir import BATCH, Graph, input_tensor, tracing

O = hf.ops


def test_a_graph_shows_its_nodes():
    with tracing(Graph()) as graph:
        x = input_tensor(graph, "x", (BATCH, 3))
        graph.scope = "layer"
        mean = O.batch_norm(x, 1.0, 0.0)[1]
        O.exp(mean * 2.5)
    lines = graph.show().splitlines()
    assert lines[0] == "graph:" and len(lines) == 1 + len(graph.nodes)
    assert "%0 = input(name=x, shape=(B, 3), dtype=real)" in lines[1] and "real(B, 3)" in lines[1]
    norm = next(line for line in lines if "normalize(%0, 1.0, 0.0, eps=1e-05, per_row=False)" in line)
    assert norm.endswith("real(B, 3), real(3), real(3)  layer")
    assert any("mul(%3.1, 2.5)" in line for line in lines)


def test_stages_are_printed_as_they_happen(monkeypatch, capsys):
    f = lambda w, x: O.mean(O.relu(x @ w))  # noqa: E731
    args = np.ones((3, 2)), np.ones((4, 3))
    hf.value_and_grad(f)(*args)
    assert capsys.readouterr().err == ""
    monkeypatch.setenv("HAWFINCH_SHOW", "traced,differentiated,fused,plan")
    hf.value_and_grad(f)(*args)
    text = capsys.readouterr().err
    places = [text.index(f"-- {name} --") for name in ("traced", "differentiated", "fused", "plan")]
    assert places == sorted(places) and text.count("-- ") == 4
    traced, differentiated = text[places[0] : places[1]], text[places[1] : places[2]]
    assert "relu(" in traced and "relu_mask(" not in traced and "relu_mask(" in differentiated
    assert "steps:" in text[places[2] : places[3]] and "barriers" in text[places[3] :]
    monkeypatch.setenv("HAWFINCH_SHOW", "fused")
    hf.compile(f)(*args)
    assert capsys.readouterr().err.startswith("-- fused --")


def test_text_is_made_only_where_it_is_asked_for(monkeypatch):
    monkeypatch.delenv("HAWFINCH_SHOW", raising=False)
    stage("plan", lambda: 1 / 0)
