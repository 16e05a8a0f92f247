import json
import shutil
import subprocess
import sys

import pytest

from passerby.cli.app import main
from passerby.models import sources
from tiny_models import save_tiny


def run(capsys, *arguments):
    with pytest.raises(SystemExit) as end:
        main(list(arguments))
    return end.value.code or 0, capsys.readouterr().out


def test_doctor_as_json(capsys):
    code, out = run(capsys, "doctor", "--json")
    found = json.loads(out)
    assert code == 0
    assert found["extras"]["base"]["numpy"]
    assert found["runtime"]["exported"].split()[0] in ("onnxruntime", "openvino")
    assert "as measured here" in found["runtime"]["exported"]
    assert "Apple" in found["licences"]["fastvit_t8"]
    assert "apple-amlr" in found["licences"]["fastvit_mci0"]
    assert found["cpu"]["cores"] >= 1
    assert set(found["caches"]) == {"pictures", "hub"}


def test_doctor_names_what_is_missing_and_how_to_get_it(capsys, monkeypatch):
    from passerby.cli import doctor

    version = doctor._version
    monkeypatch.setattr(doctor, "_version", lambda package: None if package == "openvino" else version(package))
    code, out = run(capsys, "doctor")
    assert code == 0
    plain = " ".join(out.split())
    assert "missing: openvino (pip install 'passerby[export]')" in plain
    assert "fastvit-license (Apple's own terms, not Apache): fastvit_t8" in plain


def test_doctor_checks_the_shipped_models(capsys, monkeypatch, tmp_path):
    save_tiny(tmp_path / "checkpoints" / "street")
    shutil.copytree(tmp_path / "checkpoints" / "street", tmp_path / "checkpoints" / "damaged")
    (tmp_path / "checkpoints" / "damaged" / "README.md").write_text("x")
    monkeypatch.setattr(sources.resources, "files", lambda package: tmp_path)
    _, out = run(capsys, "doctor", "--json")
    models = json.loads(out)["models"]
    assert models["street"]["licence"] == "Apache-2.0"
    assert "is damaged" in models["damaged"]["problem"]
    _, out = run(capsys, "doctor")
    assert "model street" in out


def test_doctor_needs_no_torch():
    code = (
        "import sys; from importlib import util; find = util.find_spec\n"
        "util.find_spec = lambda name, *rest: None if name == 'torch' else find(name, *rest)\n"
        "import passerby.models.runtimes.choice as choice; choice.find_spec = util.find_spec\n"
        "sys.modules['torch'] = None\n"
        "from passerby.cli.doctor import examine; assert examine()['gpus'] == []"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
