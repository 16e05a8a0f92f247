import json

from passerby.cli.study import STUDIES
from tiny_models import save_tiny


def test_profile_as_table_markdown_and_json(tmp_path, call, monkeypatch):
    save_tiny(tmp_path / "c")
    monkeypatch.chdir(tmp_path)
    code, out, _ = call("study", "profile", "c", "--repeats", 1, "--tokens", 5, "--json")
    found = json.loads(out)
    assert code == 0
    assert found[0]["tokens"] == 5
    from passerby.studies import profile

    monkeypatch.setattr(profile, "profile_models", lambda *_, **__: found)
    code, out, _ = call("study", "profile", "c")
    assert code == 0
    assert "32x16" in out
    assert "multiply-adds" in out
    code, out, _ = call("study", "profile", "c", "--markdown")
    assert out.startswith("| model | image |")


def test_a_model_that_is_none(call):
    code, _, err = call("study", "profile", "resnet5", "--repeats", 0)
    assert code == 1
    assert "Did you mean" in err.splitlines()[-1]


def test_studies_are_listed_and_misspelled_ones_named(call):
    code, out, _ = call("study", "--help")
    assert code == 0
    assert all(name in out for name in STUDIES)
    code, _, err = call("study", "profil")
    assert code == 2
    assert "Did you mean 'profile'" in err


def test_an_unknown_preset_of_the_attention_study_names_the_nearest(call, tmp_path):
    code, out, err = call("study", "attention", "--preset", "steet", "--out", tmp_path / "study")
    assert (code, out) == (1, "")
    assert "Did you mean 'street'" in err
    assert not (tmp_path / "study").exists()
