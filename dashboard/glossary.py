"""What the field's words mean, for readers of any page."""

from __future__ import annotations

import streamlit as st

from asi_core.methods import METHODS
from asi_core.records import HEAD_LABEL
from asi_core.training.balance import VERY_UNBALANCED

# In alphabetical order, capitals and small letters alike; methods say themselves what they are.
TERMS: dict[str, str] = {
    "Activation": "What a layer passes on. The activation that enters a trained layer is the input "
    "from which its weight gradient is computed.",
    "Balanced accuracy": "The mean of the classes' own accuracies. It is shown where the largest "
    f"class has at least {VERY_UNBALANCED} times the test images of the smallest: there, accuracy "
    "says most about the large classes.",
    "Budget": "How many bytes all trained layers together may keep of their inputs.",
    "Calibration": "Looking at a few batches before training, to learn the spectra of the layers' "
    "inputs and the gradient error of possible ranks.",
    "Captured energy": "Share of the input's squared norm that its kept form holds, from 0 to 1.",
    "Comparison": "Runs that were launched together, on the same images in the same order.",
    "Core": "The small tensor in the middle of a Tucker form. Its sizes are the ranks.",
    "Drift": "How far a mode's subspace has turned since the step before: the largest principal "
    "angle between the two, in degrees.",
    "Energy": "The sum of squared entries of a tensor, which is the sum of squared singular values "
    "of any of its unfoldings.",
    "Exact convention": "Counts the multiply-accumulates and bytes of what the code here executes "
    "and stores.",
    "Explained variance": "Share of an unfolding's energy that the kept singular vectors hold. "
    "Asked for, it gives each mode the smallest rank that reaches it.",
    "Factor": "The matrix of a Tucker form that belongs to one mode: orthonormal columns, as many "
    "as the mode's rank.",
    "FLOPs": "Floating-point operations, counted here as two for each multiply-accumulate.",
    "Frozen prefix": "All layers before the first trained one. They keep nothing for backward.",
    "Gradient cosine": "Cosine of the angle between the weight gradient in use and the exact one. "
    "1 means the same direction.",
    "Gradient error": "Frobenius norm of the difference between a layer's weight gradient and the "
    "exact one. The paper calls it perplexity.",
    "Lean layers": "Normalisations and activation functions that keep only what their gradients "
    "need: the same numbers from fewer bytes.",
    HEAD_LABEL: "Training the new classifier and nothing else: the floor that every method "
    "has to beat.",
    "MACs": "Multiply-accumulate operations: one product added to a sum.",
    "Mode": "One of the ways into a tensor, counted from 0. A convolution's input has four: batch, "
    "channel, height and width.",
    "Multilinear rank": "The ranks of a Tucker form, one a mode.",
    "Overhead": "The multiplies that a method spends on compressing inputs, beside those of "
    "forward and backward.",
    "Paper convention": "Counts as the published tables do: grouped convolutions as dense, the "
    "input gradient left out, an identity factor counted for a mode at full rank.",
    "Pareto front": "The runs that no other run beats: none is at least as good in everything and "
    "better in something.",
    "Patch": "The R × R positions over which the gradient filter averages.",
    "Perplexity": "The paper's word for gradient error; it has nothing to do with language models.",
    "Plan": "One choice of ranks a layer, with the least sum of gradient errors that a budget "
    "allows.",
    "Probe": "A look at a training step: the singular values of the layers' inputs, and what the "
    "method made of them.",
    "Rank": "How many directions of a mode are kept; of a matrix, how many of its singular values "
    "are not zero.",
    "Run": "One fine-tuning with one method and one seed.",
    "Saved for backward": "Tensors that the forward pass keeps in memory until the backward pass "
    "has used them.",
    "Seed": "The number from which the order of the images and the start of the new classifier are "
    "drawn. The same seed gives the same numbers.",
    "Singular value": "How strongly a matrix stretches one of its singular directions. Squared, it "
    "is the energy along that direction.",
    "Spectrum": "All singular values of an unfolding, the largest first.",
    "Subspace iteration": "Multiplying a basis by A and its transpose and making it orthonormal "
    "again, which turns it towards the leading singular vectors of A.",
    "Sweep": "Runs that differ in a setting that is varied, such as the rank, and in the seed.",
    "Trained layers": "The last layers of the network, counted from its end, that are fine-tuned. "
    "All before them is frozen.",
    "Tucker form": "A small core and one factor a mode, whose product is close to the full tensor.",
    "Unfolding": "A tensor laid out as a matrix: one mode along the rows, all others along the "
    "columns.",
    "Warm start": "Beginning an iteration with the result of the step before instead of random "
    "numbers.",
}

_SEARCH = "glossary-search"


def glossary() -> dict[str, str]:
    """All entries in alphabetical order, with one for each registered method."""
    entries = {method.label: method.described() for method in METHODS.values()} | TERMS
    return dict(sorted(entries.items(), key=lambda entry: entry[0].casefold()))


def matching(text: str) -> dict[str, str]:
    """The entries whose term or explanation contains `text`; those whose term does come first."""
    wanted, entries = text.strip().casefold(), glossary()
    by_term = {term: message for term, message in entries.items() if wanted in term.casefold()}
    by_text = {term: message for term, message in entries.items() if wanted in message.casefold()}
    return {**by_term, **by_text}


def glossary_popover() -> None:
    """A button at the foot of a page, with all terms behind it."""
    with st.popover("Glossary", icon=":material/menu_book:", help="What the words here mean"):
        st.fragment(_searchable_list)()


def _searchable_list() -> None:
    text = st.text_input(
        "Search",
        key=_SEARCH,
        placeholder="for example rank",
        help="Looks into the terms and their explanations.",
    )
    found = matching(text)
    if not found:
        st.caption("No term and no explanation has this word. Try a shorter one.")
    with st.container(height=360, border=False):
        st.markdown("\n\n".join(f"**{term}**: {message}" for term, message in found.items()))
