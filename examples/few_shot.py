"""Few-shot classification: the examples are computed once, whatever the number of questions."""

import sgl_lite as sgl

EXAMPLES = [
    ("The film was great. I love it.", "positive"),
    ("The soup is awful. Never again.", "negative"),
    ("The hotel was okay.", "neutral"),
]
LABELS = [f" {label}" for _, label in EXAMPLES]


@sgl.function
def classify(s, text):
    for example, label in EXAMPLES:
        s += f"Review: {example}\nSentiment: {label}\n\n"
    s += f"Review: {text}\nSentiment:"
    s += sgl.select("label", LABELS, choices_method="probability")


classify.cache()
texts = ["The music was wonderful.", "This phone was broken, useless.", "The trip was fine, nothing special."]
for text, state in zip(texts, classify.run_batch([{"text": text} for text in texts]), strict=True):
    meta = state.get_meta_info("label")
    shares = ", ".join(f"{c.strip()} {p:.0%}" for c, p in zip(meta["choices"], meta["probabilities"], strict=True))
    print(f"{text} ->{state['label']} ({shares}; {meta['cached_tokens']} of {meta['prompt_tokens']} tokens cached)")
    assert state["label"] in LABELS and abs(sum(meta["probabilities"]) - 1) < 1e-6
