from tests.check_coverage import shortfalls


def document(**percents):
    names = {"ops": "raypipe/ops/boxes.py", "schema": "raypipe/schema.py", "storage": "raypipe/run_folder/folder.py"}
    return {
        "files": {
            names.get(key, key): {"summary": {"percent_covered": value}, "missing_lines": [3]}
            for key, value in percents.items()
        }
    }


def test_what_is_low_or_missing_is_named():
    assert shortfalls(document(ops=95.0, schema=99.0, storage=100.0))[0] == []
    assert shortfalls(document(ops=94.9, schema=99.0, other=3.0))[0] == [
        "raypipe/ops/boxes.py: 94.9 %, lines [3] are not covered",
        "raypipe/run_folder/folder.py: no figure at all",
    ]
