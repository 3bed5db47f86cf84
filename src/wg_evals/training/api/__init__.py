"""Fine-tuning behind an API: the recipe's rows go up as a file, and a manifest with the model's name comes back.

`run.py` is the way through it; `provider.py` says what a backend has to be able to do, `openai.py` and `together.py`
do it. No PyTorch anywhere in here.
"""
