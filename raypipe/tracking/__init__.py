"""The record of a run in MLflow. No other room knows MLflow."""
