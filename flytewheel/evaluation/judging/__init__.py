"""Who wins, candidate or champion: judges behind one interface, what they are worth, and the win rate."""
