"""The glossary of technical terms, on every page."""

from __future__ import annotations

import streamlit as st

from asi_core.methods import METHODS
from asi_core.records import HEAD_LABEL
from asi_core.training.balance import VERY_UNBALANCED

# In alphabetical order, ignoring case; methods describe themselves.
TERMS: dict[str, str] = {
    "Activation": "The output of a layer, and the input of the next. A trained layer's weight "
    "gradient is computed from its input.",
    "Adapter": "What LoRA trains beside a frozen weight: two small matrices, whose product is the "
    "weight's update.",
    "Balanced accuracy": "The mean of the per-class accuracies. It is shown where the largest "
    f"class has at least {VERY_UNBALANCED} times the test images of the smallest: there, plain "
    "accuracy mostly reflects the large classes.",
    "Budget": "How many bytes all trained layers together may keep of their inputs.",
    "Calibration": "A few forward and backward passes before training that measure the spectra of "
    "the layers' inputs and the gradient error of possible ranks.",
    "Captured energy": "Share of the input's squared norm that its compressed form keeps, from 0 "
    "to 1.",
    "Comparison": "Runs that were launched together, on the same images in the same order.",
    "Contribution": "Of a weight: the squared norm of its gradient on calibration batches, which "
    "is the first decrease of their loss per learning rate.",
    "Core": "The small central tensor of a Tucker form. Its sizes are the ranks.",
    "Drift": "How far a mode's subspace has turned since the previous step: the largest principal "
    "angle between the two, in degrees.",
    "Energy": "The sum of squared entries of a tensor, which is the sum of squared singular values "
    "of any of its unfoldings.",
    "Exact convention": "Counts the multiply-accumulates that the code executes and the bytes that "
    "it stores.",
    "Explained variance": "Share of an unfolding's energy that the kept singular vectors hold. "
    "Given a target, each mode gets the smallest rank that reaches it.",
    "Factor": "The matrix of a Tucker form for one mode. Its columns are orthonormal, and their "
    "number is the mode's rank.",
    "FLOPs": "Floating-point operations, counted here as two for each multiply-accumulate.",
    "Frozen prefix": "All layers before the first trained one. They save nothing for backward.",
    "Gradient cosine": "Cosine of the angle between the weight gradient in use and the exact one. "
    "1 means the same direction.",
    "Gradient error": "Frobenius norm of the difference between a layer's weight gradient and the "
    "exact one. The paper calls it perplexity.",
    "Lean layers": "Normalisations and activation functions that save only what their gradients "
    "need: the same results with fewer bytes.",
    HEAD_LABEL: "Training only the new classifier: the baseline that every method has to beat.",
    "MACs": "Multiply-accumulate operations: one product added to a sum.",
    "Micro-batch": "A part of a batch that passes forward and backward alone. A step adds up the "
    "gradients of its micro-batches, which gives the same update from less memory at once.",
    "Mode": "A dimension of a tensor, counted from 0. A convolution's input has four: batch, "
    "channel, height and width.",
    "Multilinear rank": "The ranks of a Tucker form, one per mode.",
    "Overhead": "The multiply-accumulates that a method spends on compressing inputs, in addition "
    "to those of forward and backward.",
    "Paper convention": "Counts as the published tables do: grouped convolutions as dense, the "
    "input gradient left out, an identity factor counted for a mode at full rank.",
    "Pareto front": "The runs that no other run dominates: no other run is at least as good in "
    "both accuracy and cost, and better in one.",
    "Patch": "The R × R positions over which the gradient filter averages.",
    "Peak": "The most memory that is in use at any moment of a training step. What is kept for "
    "backward is a part of it.",
    "Perplexity": "The paper's term for gradient error; unrelated to language models.",
    "Plan": "One choice of ranks per layer, with the smallest sum of gradient errors within a "
    "budget.",
    "Probe": "A measurement in a training step: the singular values of the layers' inputs, and "
    "how well the method approximates them.",
    "Rank": "How many directions of a mode are kept; of a matrix, how many of its singular values "
    "are not zero.",
    "Run": "One fine-tuning with one method and one seed.",
    "Saved for backward": "Tensors that the forward pass keeps in memory until the backward pass "
    "has used them.",
    "Seed": "The number that determines the order of the images and the initial weights of the new "
    "classifier. The same seed gives the same numbers.",
    "Singular value": "How strongly a matrix stretches one of its singular directions. Squared, it "
    "is the energy along that direction.",
    "Spectrum": "All singular values of an unfolding, the largest first.",
    "Sub-token": "A piece of the channels at one position, which VeLoRA keeps as one number.",
    "Subspace iteration": "Multiplying a basis by A and its transpose and orthonormalising it "
    "again, which turns it towards the leading singular vectors of A.",
    "Sweep": "Runs that differ in a setting that is varied, such as the rank, and in the seed.",
    "Trained layers": "The last layers of the network that are fine-tuned. All layers before them "
    "are frozen.",
    "Transient": "Memory that a step uses only for a short time: inputs and outputs of the "
    "operator that runs, and gradients of activations.",
    "Tucker form": "A small core and one factor per mode, whose product approximates the full "
    "tensor.",
    "Unfolding": "A tensor reshaped into a matrix: one mode along the rows, all others along the "
    "columns.",
    "Warm start": "Starting an iteration from the previous step's result instead of at random.",
}

_SEARCH = "glossary-search"


def glossary() -> dict[str, str]:
    """All entries in alphabetical order, including one for each registered method."""
    entries = {method.label: method.described() for method in METHODS.values()} | TERMS
    return dict(sorted(entries.items(), key=lambda entry: entry[0].casefold()))


def matching(text: str) -> dict[str, str]:
    """The entries whose term or explanation contains `text`; matching terms come first."""
    wanted, entries = text.strip().casefold(), glossary()
    by_term = {term: message for term, message in entries.items() if wanted in term.casefold()}
    by_text = {term: message for term, message in entries.items() if wanted in message.casefold()}
    return {**by_term, **by_text}


def glossary_popover() -> None:
    """A button at the foot of a page that opens the glossary."""
    with st.popover("Glossary", icon=":material/menu_book:", help="The terms on these pages"):
        st.fragment(_searchable_list)()


def _searchable_list() -> None:
    text = st.text_input(
        "Search",
        key=_SEARCH,
        placeholder="for example rank",
        help="Searches terms and explanations.",
    )
    found = matching(text)
    if not found:
        st.caption("No term or explanation contains this text. Try a shorter one.")
    with st.container(height=360, border=False):
        st.markdown("\n\n".join(f"**{term}**: {message}" for term, message in found.items()))
