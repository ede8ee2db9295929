"""Writes how-to/my_loss_does_not_fall.md from the catalogue of causes: ``python docs/make_causes.py``."""

from pathlib import Path

from hawfinch.diagnose.catalogue import CAUSES

PAGE = Path(__file__).parent / "how-to" / "my_loss_does_not_fall.md"
HEAD = """# My loss does not fall

Or it falls, and the net is still bad. `hf.diagnose` repeats the training, tries cures, and names the cause with its
proof:

    report = hf.diagnose(model, x, y, validation_data=(xv, yv), loss=loss, optimizer=optimizer, epochs=20)
    print(report)
    trainer = report.cure()

Below is what it looks for: the names are those of `report.verdict` and `report.causes`. This page is made from the same
catalogue (`docs/make_causes.py`).

| what one sees | what it may be |
|---|---|
"""


def page() -> str:
    """The page's text."""
    causes = [cause for cause in CAUSES.values() if cause.name != "healthy"]
    rows = [f"| {cause.symptom} | [{cause.name}](#{cause.name}) |" for cause in causes]
    parts = []
    for cause in causes:
        parts += [f"\n## {cause.name}\n", cause.says, f"\n* **Symptom**: {cause.symptom}"]
        parts += [f"* **How to tell**: {cause.tell}", f"* **Cure**: {cause.cure}"]
        parts += ["", *["    " + line for line in cause.example.splitlines()]]
    return HEAD + "\n".join([*rows, *parts]) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page())
