"""What the router speaks with clients: each protocol reads its requests and answers, nothing else knows their form."""
