"""Forgets a user: finds everything of a person, takes it out everywhere, and says which models have seen it.

`person` gathers who and what is to go, `needles` and `contents` find it in files of any kind, `database`, `shelves`,
`places` and `vacuum` take it out, `plan` says beforehand what there is, `erasure` does it in steps that a kill cannot
break, and `record` keeps what was done without saying of whom.
"""
