"""What a candidate has forgotten of what its base could do."""
