"""Try: experiments that split the traffic of one model between the champion and a candidate."""
