output "bucket" {
  description = "FLYTEWHEEL_S3_BUCKET"
  value       = aws_s3_bucket.this.id
}

output "s3_url" {
  description = "FLYTEWHEEL_S3_URL"
  value       = "https://s3.${data.aws_region.current.region}.amazonaws.com"
}

output "database_host" {
  description = "Host of FLYTEWHEEL_DATABASE_URL"
  value       = aws_db_instance.this.address
}

output "database_secret_arn" {
  description = "User and password of FLYTEWHEEL_DATABASE_URL"
  value       = aws_db_instance.this.master_user_secret[0].secret_arn
}

output "secret_arns" {
  description = "Where the other secrets are put"
  value       = { for name, secret in aws_secretsmanager_secret.this : name => secret.arn }
}

output "service_policy_arn" {
  description = "What routers and tasks may do with the bucket"
  value       = aws_iam_policy.service.arn
}

output "secrets_policy_arn" {
  description = "What the operator of secrets may read"
  value       = aws_iam_policy.secrets.arn
}

output "service_security_group_id" {
  description = "For nodes that run routers and tasks"
  value       = aws_security_group.service.id
}

output "private_subnet_ids" {
  description = "For the cluster's nodes"
  value       = [for subnet in aws_subnet.private : subnet.id]
}
