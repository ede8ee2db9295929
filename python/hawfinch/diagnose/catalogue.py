"""The causes that the doctor knows: one declaration each, from which verdicts, hints and docs/diagnose.md are made.

Design: words about a cause stand here alone; what is measured of it, and which cure is tried, stands in ``rules``.
Rejected: a class for each cause with both, whose prose would hide its arithmetic.
"""

from __future__ import annotations

from typing import NamedTuple


class Cause(NamedTuple):
    """says: the verdict, one sentence. symptom: what one sees. tell: how to tell it from others. cure: what to do.
    example: the cure as code."""

    name: str
    says: str
    symptom: str
    tell: str
    cure: str
    example: str


_ALL = (
    Cause(
        "healthy",
        "Nothing is wrong: no change that was tried makes the net better by more than chance.",
        "Training and validation loss fall together and level off.",
        "A net of good habits (scaled inputs, batch norm, AdamW, a cosine) does no better on the same rows.",
        "None needed. What is left to gain is in more data, or in a better idea.",
        "",
    ),
    Cause(
        "learning_rate_too_high",
        "The learning rate is too high: steps jump over the minimum.",
        "The loss becomes NaN, rises, or jumps up and down without falling.",
        "A tenth of the rate, with the same number of epochs, reaches a lower loss. The updates are large beside the "
        "parameters (over 1 % a step).",
        "A lower rate, a warm-up, or clipping. `hf.lr_find` shows the range that works.",
        "optimizer = hf.Adam(lr=hf.schedules.Cosine(1e-3, warmup=0.05), clip_norm=1.0)",
    ),
    Cause(
        "learning_rate_too_low",
        "The learning rate is too low: the net hardly moves.",
        "The loss falls, evenly and slowly, and is still falling at the end.",
        "Ten times the rate, with the same number of epochs, reaches a lower loss. Updates are tiny beside the "
        "parameters (under 0.01 % a step).",
        "A higher rate; `hf.lr_find` shows the range that works.",
        "optimizer = hf.Adam(lr=1e-3)",
    ),
    Cause(
        "too_few_epochs",
        "The training ends too early: the loss is still falling.",
        "The last epochs still gain, in training and in validation.",
        "The same training, longer, gets much better, while another rate in the same time does not make up for it.",
        "More epochs, with `hf.EarlyStopping` to find the end.",
        'trainer.fit(x, y, epochs=200, validation_data=(xv, yv), callbacks=[hf.EarlyStopping("val_loss")])',
    ),
    Cause(
        "batch_size",
        "The batch size does not fit: too few steps, or too noisy ones.",
        "Very large batches: few updates, the loss falls slowly by the epoch. Very small: it jumps.",
        "Another batch size with the same epochs is much better.",
        "32 to 256 rows, with the rate scaled by the root of the change (Adam) or the change (SGD).",
        "trainer.fit(x, y, epochs=20, batch_size=64)",
    ),
    Cause(
        "vanishing_gradient",
        "The gradient vanishes on its way down: the lower layers learn nothing.",
        "The loss stays at the level of guessing, above all in deep nets of sigmoids.",
        "The gradient's norm falls by orders of magnitude from the last layer to the first.",
        "ReLU and its kin, an initialisation that fits them, batch norm, or shortcuts around layers.",
        "model = hf.Sequential(hf.Linear(64), hf.BatchNorm(), hf.ReLU(), hf.Linear(10))",
    ),
    Cause(
        "exploding_gradient",
        "The gradient explodes on its way down.",
        "Sudden NaN or jumps of the loss, at any sensible rate.",
        "The gradient's norm grows by orders of magnitude from the last layer to the first.",
        "An initialisation that keeps the variance, batch norm, clipping by the norm.",
        'trainer = hf.Trainer(model, loss, hf.Adam(clip_norm=1.0), init="auto")',
    ),
    Cause(
        "dead_units",
        "Many units are dead: their ReLU gives 0 for every row, so they never learn again.",
        "A net that learns less than its size promises, often after a step that was too large.",
        "Units whose output is 0 for all rows, by layer.",
        "LeakyReLU, a lower rate, biases that start at 0, batch norm.",
        "model = hf.Sequential(hf.Linear(64), hf.LeakyReLU(), hf.Linear(10))",
    ),
    Cause(
        "saturated_units",
        "Many units are saturated: sigmoid or tanh at its ends, where the gradient is nearly 0.",
        "The loss hardly falls, although the rate is sensible.",
        "Outputs of hidden sigmoids or tanhs within 1 % of their ends, by layer.",
        "Scaled inputs and smaller initial weights, batch norm, or ReLU.",
        "model = hf.Sequential(hf.Standardize(), hf.Linear(64), hf.BatchNorm(), hf.Tanh(), hf.Linear(10))",
    ),
    Cause(
        "bad_initialisation",
        "The weights start badly: all alike, or far too large or small.",
        "The loss starts far above that of guessing, or does not move at all.",
        "Standard deviations of the initial weights beside 1/sqrt(inputs); columns that are all equal.",
        '`Trainer(init="auto")`: He for ReLU, Glorot for tanh and sigmoid.',
        'trainer = hf.Trainer(model, loss, init="auto")',
    ),
    Cause(
        "critical_point",
        "The training sits at a critical point: the gradient is nearly 0, and not at a minimum.",
        "The loss does not move, and neither do the parameters.",
        "The gradient's norm beside that elsewhere, and the signs of the Hessian's extreme eigenvalues.",
        "Another start, or a step along the escape direction; `hf.critical_point` gives it.",
        'trainer = hf.Trainer(model, loss, init="auto", seed=1)',
    ),
    Cause(
        "model_bias",
        "The model is too simple for the task.",
        "Training and validation loss are both too high, and close to each other.",
        "A wider or deeper net, trained the same way, reaches a lower training loss.",
        "More units, more layers, activations between the layers, or better features.",
        "model = hf.Sequential(hf.Linear(256), hf.ReLU(), hf.Linear(256), hf.ReLU(), hf.Linear(10))",
    ),
    Cause(
        "optimisation",
        "The model could do it, but the optimiser does not get there.",
        "The training loss stays high.",
        "A smaller net, or the same one trained in another way, reaches a lower training loss.",
        "Adam or AdamW with a schedule, batch norm, shortcuts around layers.",
        "optimizer = hf.AdamW(lr=hf.schedules.Cosine(2e-3, warmup=0.05))",
    ),
    Cause(
        "overfitting",
        "The net learns the training rows by heart.",
        "The training loss is low, the validation loss much higher, and rising.",
        "Both sets are alike (no classifier can tell them apart), and regularisation, an early end or a smaller net "
        "lowers the validation loss.",
        "Early stopping, dropout, weight decay, mixup, a smaller net; most of all more data.",
        'trainer.fit(x, y, epochs=100, validation_data=(xv, yv), callbacks=[hf.EarlyStopping("val_loss")])',
    ),
    Cause(
        "mismatch",
        "Training and validation rows come from different places.",
        "The training loss is low, the validation loss high from the first epoch on.",
        "A classifier tells training rows from validation rows; its AUC and the features that give them away.",
        "Training rows like those that the net will meet; leave out the features that give the set away.",
        'print(hf.diagnose(model, x, y, validation_data=(xv, yv), loss=loss).causes[0].numbers["features"])',
    ),
    Cause(
        "inputs_not_scaled",
        "The inputs are not scaled: some are far larger than others, or far from 0.",
        "The loss falls slowly, jumps, or becomes NaN.",
        "Means and standard deviations of the features: far from 0 and 1, and far apart.",
        "`hf.Standardize()` as the first layer, which learns its numbers from the training rows.",
        "model = hf.Sequential(hf.Standardize(), hf.Linear(64), hf.ReLU(), hf.Linear(10))",
    ),
    Cause(
        "constant_inputs",
        "The inputs hardly vary: there is nothing to learn from.",
        "The net predicts the same for every row.",
        "Features with a single value, or rows that are all alike.",
        "Look at how the inputs are made: the step that makes them constant is upstream of the net.",
        "print(np.ptp(x, axis=0))  # 0: a feature that says nothing",
    ),
    Cause(
        "target_leak",
        "An input gives the target away.",
        "Too good to be true: an error near 0 within an epoch.",
        "One feature alone predicts the target; or validation rows stand in the training set.",
        "Leave the feature out; take rows that stand in both sets out of one.",
        'x = np.delete(x, report.causes[0].numbers["features"], axis=1)',
    ),
    Cause(
        "wrong_labels",
        "Many labels are wrong.",
        "The training error stays high, or falls only by heart, while validation is better than training.",
        "Nets that have not seen a row are sure of another label for it; `hf.label_noise` lists such rows.",
        "Correct or leave out the rows listed; label smoothing helps with what is left.",
        'rows = report.causes[0].numbers["rows"]\nx, y = np.delete(x, rows, axis=0), np.delete(y, rows, axis=0)',
    ),
    Cause(
        "class_imbalance",
        "Some classes are so rare in training that the net ignores them.",
        "A high accuracy in training, and a low one where classes are even.",
        "Counts of the classes, and the recall of the rare ones.",
        '`class_weight="balanced"`, or more rows of the rare classes.',
        'trainer.fit(x, y, epochs=20, class_weight="balanced")',
    ),
    Cause(
        "output_or_loss",
        "The net's end and its loss do not fit each other, or the targets.",
        "The loss levels off far above 0, or predictions never leave a range.",
        "Softmax under a loss that applies it, squared error on class numbers, an activation whose range does not "
        "reach the targets.",
        "Logits under SoftmaxCrossEntropy for classes; no activation at the end for numbers.",
        "model = hf.Sequential(hf.Linear(64), hf.ReLU(), hf.Linear(10))  # logits\n"
        "trainer = hf.Trainer(model, hf.SoftmaxCrossEntropy())",
    ),
    Cause(
        "regularisation_too_strong",
        "Penalties hold the weights too small.",
        "Training and validation loss are both high and alike; the weights are near 0.",
        "Without penalties and weight decay the training loss is far lower.",
        "A tenth of the penalty, or none.",
        "trainer = hf.Trainer(model, loss, hf.AdamW(weight_decay=0.01), regularizers=None)",
    ),
    Cause(
        "regularisation_too_weak",
        "A little regularisation would do much.",
        "The validation loss rises while the training loss falls.",
        "With weight decay or dropout the same net is much better in validation.",
        "AdamW with weight_decay=0.05, dropout of 0.2.",
        "trainer = hf.Trainer(model, loss, hf.AdamW(weight_decay=0.05))",
    ),
    Cause(
        "dropout",
        "Dropout takes away too much.",
        "Training loss above the validation loss; both high.",
        "Without dropout both are far lower.",
        "p = 0.1 to 0.3, none before the output, none in small nets.",
        "model = hf.Sequential(hf.Linear(256), hf.ReLU(), hf.Dropout(0.1), hf.Linear(10))",
    ),
    Cause(
        "batch_norm",
        "Batch norm works with statistics that mislead it.",
        "Training looks fine, validation is bad or jumps.",
        "The same rows, by batch statistics and by running averages, give different errors; batches of 1 or 2 rows.",
        "Batches of 16 rows or more, momentum 0.1, or LayerNorm.",
        "trainer.fit(x, y, epochs=20, batch_size=32)  # statistics of 32 rows",
    ),
    Cause(
        "frozen",
        "Parameters are frozen that should learn.",
        "The loss falls a little and then not at all.",
        "Arrays whose updates are exactly 0.",
        "`model.unfreeze()`.",
        "model.unfreeze()",
    ),
    Cause(
        "wrong_gradient",
        "A gradient is wrong.",
        "The loss does not fall, or falls and turns.",
        "`hf.gradient_check`: the gradient differs from differences of the loss.",
        "Correct the gradient of the op or function that the check names.",
        "print(hf.gradient_check(model, x, y, loss=loss))",
    ),
    Cause(
        "preprocessing_differs",
        "Validation rows are prepared in another way than training rows.",
        "Training is fine, validation bad from the first epoch on.",
        "Means and standard deviations of the features differ between the sets by a common shift or factor; with the "
        "training set's, the error is back.",
        "The same preparation for both, best as a layer of the net: `hf.Standardize()`.",
        "model = hf.Sequential(hf.Standardize(), hf.Linear(64), hf.ReLU(), hf.Linear(10))  # raw rows everywhere",
    ),
    Cause(
        "seed_spread",
        "The result depends on the seed more than on anything else.",
        "Some runs succeed, others fail, with the same settings.",
        "The spread of the error over seeds.",
        "Compare over several seeds; a wider net, batch norm, a warm-up or an average of nets makes them alike.",
        'errors = [hf.Trainer(make(), loss, seed=s).fit(x, y, epochs=20)["loss"][-1] for s in range(5)]',
    ),
)
CAUSES = {cause.name: cause for cause in _ALL}
