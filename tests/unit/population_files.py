"""Small files of client populations for tests."""

import gzip
import json

HEADER = "client_id,t_s,rate_rps,iat_cv,pattern,shape,scale"
ROWS = """\
0,0,0.5,1.0,Gamma,1.0,2.0
0,600,0.25,2.0,Gamma,0.25,16.0
7,600,1.5,1.5,Weibull,0.6848,0.5
7,43200,0.1,0.5,Gamma,4.0,2.5"""


def pdf(client, start_s, prompt=(10, 20), output=(100, 200), ratio=(0.0, 0.5, 0.5), length_s=21600):
    return {
        "client_id": client,
        "window_start_s": start_s,
        "window_len_s": length_s,
        "n_requests": 1,
        "input_tokens": {"value": list(prompt), "prob": [1 / len(prompt)] * len(prompt)},
        "output_tokens": {"value": list(output), "prob": [1 / len(output)] * len(output)},
        "reason_ratio": {"bin_left": "j/3", "nbins": len(ratio), "prob": list(ratio)},
    }


PDFS = (pdf(0, 0), pdf(7, 0, prompt=(1000,)), pdf(7, 43200, prompt=(3,), output=(1, 2)))


def write_table(tmp_path, rows=ROWS, pdfs=PDFS, header=HEADER):
    """x_windows.csv and, packed, x_pdfs.jsonl.gz; returns the first."""
    path = tmp_path / "x_windows.csv"
    path.write_text(f"{header}\n{rows}\n")
    lines = "\n".join(json.dumps(one) for one in pdfs)
    (tmp_path / "x_pdfs.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    return path


def write_chunks(tmp_path):
    """The same population in the layout of alibaba/ServeGen; returns the directory."""
    directory = tmp_path / "deepseek-r1"
    directory.mkdir()
    for client in (0, 7):
        own = [row.split(",", 1)[1] for row in ROWS.splitlines() if row.startswith(f"{client},")]
        used = {int(row.split(",")[0]) for row in own}
        own += [f"{t_s},0,0,,0,0" for t_s in range(0, 86400, 600) if t_s not in used]
        own.sort(key=lambda row: int(row.split(",")[0]))
        (directory / f"chunk-{client}-trace.csv").write_text("\n".join(own) + "\n")
        dataset = {}
        for start_s in range(0, 86400, 21600):
            found = [p for p in PDFS if (p["client_id"], p["window_start_s"]) == (client, start_s)]
            one = found[0] if found else None
            dataset[str(start_s)] = {
                name: str(_pairs(one, name)) if one else "{}"
                for name in ("input_tokens", "output_tokens", "reason_ratio")
            }
        (directory / f"chunk-{client}-dataset.json").write_text(json.dumps(dataset))
    return directory


def _pairs(one, name):
    column = one[name]
    bins = len(column["prob"])
    keys = column.get("value", [j / bins for j in range(bins)])
    return dict(zip(keys, column["prob"], strict=True))
