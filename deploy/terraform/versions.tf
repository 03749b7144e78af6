# What flytewheel stands on, on AWS: network, database, bucket, secrets. The cluster that runs routers and Flyte is not made here;
# it is put into `private_subnet_ids` and gets `service_policy_arn` (outputs.tf).
terraform {
  required_version = ">= 1.9"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 6.0, < 7.0"
    }
  }
}
