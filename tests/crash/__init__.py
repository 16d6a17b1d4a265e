"""Kills under load: clients write down all that they ask and are told, and a checker holds that against what a queue promises."""
