"""Commands on any file: chat, inspect, rate, check a judge."""
