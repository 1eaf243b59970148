"""A model behind HTTP, in the dialect of OpenAI's API that DeepSeek speaks: thinking apart from the answer."""
