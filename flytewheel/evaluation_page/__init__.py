"""The page that a judgement is read on: one file without script that loads nothing, verdict first."""
