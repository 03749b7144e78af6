"""The service in front of the models: it answers, splits the traffic, and listens to what people thought."""
