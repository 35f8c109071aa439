# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
# ---
# ruff: noqa: D100 (the first cell is the introduction)

# %% [markdown]
# # Repair a biased model with yes and no
#
# A classifier learned to tell waterbirds from landbirds, partly by the place where they are. We ask one question about
# each training image, "is what the model looks at relevant?", then refine the model by the answers with Crayon.
#
# This file runs as a script, and opens as a notebook in editors that know cells (`# %%`) and in Jupyter with jupytext.
#
#     CRAYON_EXAMPLE_PICTURES=pictures python examples/repair_a_biased_model.py
#
# `CRAYON_EXAMPLE_PICTURES` names a folder for the pictures; without it they appear in the notebook.
# `CRAYON_EXAMPLE_SHARE`, 1 unless set, is the share of the images that are drawn: less for a quick look.

# %%
import os
import sys
from pathlib import Path

import torch
from matplotlib import pyplot as plt

sys.path.insert(0, str(Path(__file__).parent if "__file__" in globals() else Path.cwd()))
import one_page
from one_page import GROUPS, group_accuracies

from crayon import CrayonAttention, Guide, Training

SHARE = float(os.environ.get("CRAYON_EXAMPLE_SHARE", "1"))
PICTURES = os.environ.get("CRAYON_EXAMPLE_PICTURES")
torch.set_num_threads(1)


def show(figure, name):
    """Write a picture into the folder, or show it where there is a display."""
    if PICTURES:
        Path(PICTURES).mkdir(parents=True, exist_ok=True)
        figure.savefig(Path(PICTURES) / name, dpi=110, bbox_inches="tight")
    elif plt.get_backend().lower() != "agg":
        plt.show()
    plt.close(figure)


# %% [markdown]
# ## The data and their bias
#
# Drawn birds on drawn water and land. In the training images nearly all birds are where they live. In the validation
# and test images half of them are, so that a model that reads the background fails in two of the four groups.

# %%
birds = one_page.draw_birds(SHARE)
train, validation, test = birds["train"], birds["validation"], birds["test"]
for split, images in birds.items():
    print(f"{split:12}", *(f"{group} {int((images.groups == n).sum())}" for n, group in enumerate(GROUPS)), sep="   ")

examples = torch.cat([(test.groups == n).nonzero().flatten()[:2] for n in range(len(GROUPS))])  # two of each group


def picture(images, position):
    """An image as matplotlib takes it, (H, W, 3)."""
    return (images.pixels[position] * 0.25 + 0.5).clamp(0, 1).permute(1, 2, 0)


def row_of_images(axes, images, positions, maps=None):
    """Draw images in a row, with the maps over them where they are given."""
    for axis, position in zip(axes, positions.tolist(), strict=True):
        axis.imshow(picture(images, position), extent=(0, 1, 0, 1))
        if maps is not None:
            axis.imshow(maps[position], cmap="jet", alpha=0.5, extent=(0, 1, 0, 1), interpolation="bilinear")
        axis.set(xticks=[], yticks=[])


figure, axes = plt.subplots(1, len(examples), figsize=(14, 2))
row_of_images(axes, test, examples)
for axis, position in zip(axes, examples.tolist(), strict=True):
    axis.set_title(GROUPS[test.groups[position]], fontsize=9)
show(figure, "data.png")

# %% [markdown]
# ## The biased model
#
# A small network, first trained on drawn figures (this stands in for ImageNet's weights), then on the birds with the
# usual cross-entropy. Any PyTorch classifier serves that averages a map before a linear last layer.

# %%
model = one_page.train_original(one_page.pretrain(SHARE), train)


def report(name, network):
    """Print the accuracy of each group of the test images, and the worst."""
    accuracies = group_accuracies(network, test)
    of_groups = (f"{group} {value:.1f}" for group, value in zip(GROUPS, accuracies, strict=True))
    print(f"{name}: worst group {min(accuracies):.1f}% of test images correct", *of_groups, sep="   ")


report("biased model", model)

# %% [markdown]
# ## What the model looks at
#
# `Guide` computes the Grad-CAM map of every training image: red is where the evidence for the image's class comes from.


# %%
def dataset(images):
    """A data set as the library takes it: image and class."""
    return list(zip(images.pixels, images.labels.tolist(), strict=True))


guide = Guide(model, dataset(train), dataset(validation))
maps = guide.maps()

# %% [markdown]
# ## Answer
#
# For each training image: is the strong highlight mainly on the bird? A person would look at pictures like the ones
# below and press yes or no; `crayon annotate` shows them one by one. Here the answers are **simulated** from the masks
# that the drawing left: yes, if most of the strong highlight lies on the bird. Answers are 1 (yes), 0 (no) or -1
# (unsure, or not asked).

# %%
answers = one_page.answer_maps(maps, train.masks)
print(f"simulated answers: {int(answers.sum())} yes, {int((~answers).sum())} no")

judged = torch.cat([answers.nonzero().flatten()[:4], (~answers).nonzero().flatten()[:4]])
figure, axes = plt.subplots(1, len(judged), figsize=(14, 2))
row_of_images(axes, train, judged, maps)
for axis, position in zip(axes, judged.tolist(), strict=True):
    axis.set_title("yes" if answers[position] else "no")
show(figure, "answers.png")

# %% [markdown]
# ## Refine
#
# Crayon-Attention keeps the maps answered with yes where they are, and drives those answered with no away. We try the
# settings of `one_page.ATTENTION` and take the one with the highest worst-group accuracy on the **validation** images,
# the first of equals. Test images are used for the figures printed here, and for no choice.


# %%
def refine(answers):
    """Refine with each setting; give the model that is best on the validation images."""

    def refined(rate, weight):
        method = CrayonAttention(alpha=weight, beta=weight, weighting="published")
        training = Training(optimiser="adam", learning_rate=rate, weight_decay=1e-4, batch_size=64, epochs=5)
        return guide.refine(method, training, attention=answers.int()).model

    return one_page.best(refined, one_page.ATTENTION, validation)


repaired = refine(answers)
report("biased model", model)
report("repaired model", repaired)

# %% [markdown]
# ## Before and after
#
# The same test images, which were neither trained on nor asked about: above with the maps of the biased model, below
# with those of the repaired one. The title tells whether the model names the bird correctly. Eight pictures prove
# nothing, so the same question is answered, as above, for the maps of all test images, and the share of yes is printed.
# It need not rise: a model that is right more often in the worst group may still put fewer highlights on the bird.

# %%
figure, axes = plt.subplots(2, len(examples), figsize=(14, 4.4))
for row, (name, network) in zip(axes, {"biased": model, "repaired": repaired}.items(), strict=True):
    test_maps = one_page.maps_of(network, test)
    row_of_images(row, test, examples, test_maps)
    on_bird = 100 * float(one_page.answer_maps(test_maps, test.masks).float().mean())
    print(f"{name} model: {on_bird:.1f}% of the test images have their highlight mainly on the bird")
    with torch.no_grad():
        right = network(test.pixels[examples]).argmax(1) == test.labels[examples]
    row[0].set_ylabel(name)
    for axis, position, is_right in zip(row, examples.tolist(), right.tolist(), strict=True):
        axis.set_title(f"{GROUPS[test.groups[position]]}\n{'correct' if is_right else 'wrong'}", fontsize=8)
show(figure, "before_after.png")

# %% [markdown]
# ## Do the answers do the work?
#
# A control: the same refinement and the same choice on validation images, with the same answers given to the wrong
# images. What it gains comes from training longer and from guiding maps at all. Only the difference between the last
# two lines is due to the answers. It can be small or even negative, and a single run does not separate it from chance:
# docs/results.md has such controls over five seeds.

# %%
order = torch.randperm(len(answers), generator=torch.Generator().manual_seed(1))
control = refine(answers[order])
report("repaired model, answers as given", repaired)
report("control, answers shuffled", control)
gain = min(group_accuracies(repaired, test)) - min(group_accuracies(control, test))
print(f"answers as given, minus answers shuffled: {gain:+.1f} points of worst-group accuracy")
